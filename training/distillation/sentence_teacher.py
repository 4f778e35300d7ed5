# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A sentence encoder as the teacher of a text tower, and what a dictionary says about the nouns of a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer
from wordnet_nouns import NounEntry, WordNetNouns

PROMPT = "a photo of a {}"


class SentenceEncoder:
    """A Transformers encoder whose sentence vector is the mean over its tokens, as sentence-transformers has them.

    Args:
        folder: Folder or Hub id, as `AutoModel` takes it.
        batch_size: Sentences at a time.
    """

    def __init__(self, folder: str, batch_size: int = 256) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder).eval()
        self.batch_size = batch_size
        self._known: dict[str, torch.Tensor] = {}

    def encode(self, sentences: Sequence[str]) -> torch.Tensor:
        """Returns unit vectors (sentences, dim); a sentence is encoded once however often it is asked for."""
        new = sorted({sentence for sentence in sentences if sentence not in self._known}, key=len)
        for start in range(0, len(new), self.batch_size):
            part = new[start : start + self.batch_size]
            self._known |= dict(zip(part, self._encode(part), strict=True))
        return torch.stack([self._known[sentence] for sentence in sentences])

    @torch.no_grad()
    def _encode(self, sentences: list[str]) -> torch.Tensor:
        inputs = self.tokenizer(sentences, padding=True, truncation=True, max_length=64, return_tensors="pt")
        states = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)


class PhraseTeacher:
    """Vectors of noun phrases: the encoder's, drawn towards what a dictionary says about the noun.

    A sentence encoder places rare nouns badly ("fedora" beside "cactus"). The dictionary's synonyms, broader words and
    definition of the first sense that can be seen are added to the phrase's own vector; and an adjective that must not
    be lost beside its noun ("red" in "red car") is added once more by itself.

    Args:
        encoder: The sentence encoder.
        nouns: The dictionary; `None` for the encoder alone.
        weights: What synonyms, broader words and definition count beside the phrase, which counts 1.
        adjectives: Words that are added once more where a phrase begins with them.
        adjective_weight: What they count.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        nouns: WordNetNouns | None,
        weights: tuple[float, float, float] = (0.5, 0.3, 0.3),
        adjectives: Sequence[str] = (),
        adjective_weight: float = 0.6,
    ) -> None:
        self.encoder, self.nouns, self.weights = encoder, nouns, weights
        self.adjectives, self.adjective_weight = frozenset(adjectives), adjective_weight

    def encode(self, phrases: Sequence[str]) -> torch.Tensor:
        """Returns unit vectors (phrases, dim)."""
        entries = [self._entry(phrase) for phrase in phrases]
        sentences = [PROMPT.format(phrase) for phrase in phrases]
        for entry in entries:
            if entry is not None:
                sentences += [PROMPT.format(word) for word in (*entry.synonyms, *entry.broader)] + [entry.definition]
        # All at once, for full batches.
        self.encoder.encode([*sentences, *sorted(self.adjectives)])
        rows = [self._vector(phrase, entry) for phrase, entry in zip(phrases, entries, strict=True)]
        return nn.functional.normalize(torch.stack(rows), dim=-1)

    def _entry(self, phrase: str) -> NounEntry | None:
        """The dictionary's entry of the longest end of a phrase that it knows."""
        words = phrase.split()
        for start in range(len(words) if self.nouns is not None else 0):
            entry = self.nouns.entry(" ".join(words[start:])) if self.nouns is not None else None
            if entry is not None:
                return entry
        return None

    def _vector(self, phrase: str, entry: NounEntry | None) -> torch.Tensor:
        vector = self.encoder.encode([PROMPT.format(phrase)])[0]
        if entry is not None:
            of_synonyms, of_broader, of_definition = self.weights
            vector = vector + of_definition * self.encoder.encode([entry.definition])[0]
            for weight, words in ((of_synonyms, entry.synonyms), (of_broader, entry.broader)):
                if words:
                    vector = vector + weight * self.encoder.encode([PROMPT.format(word) for word in words]).mean(dim=0)
        first, *rest = phrase.split()
        if rest and first in self.adjectives:
            vector = vector + self.adjective_weight * self.encoder.encode([first])[0]
        return vector


class Projection:
    """Principal components of a teacher's vectors, evened out a little, turned towards a space that was there before.

    Args:
        vectors: (phrases, dim) of the phrases that the space shall tell apart.
        weights: (phrases,), what each counts.
        size: Components to keep.
        evenness: Power of the components' spread that is divided out: 0 leaves it, 1 makes all alike.
    """

    def __init__(self, vectors: torch.Tensor, weights: torch.Tensor, size: int, evenness: float = 0.3) -> None:
        self.mean = (vectors * weights[:, None]).sum(dim=0) / weights.sum()
        _, spread, directions = torch.linalg.svd((vectors - self.mean) * weights.sqrt()[:, None], full_matrices=False)
        self.kept_variance = float((spread[:size] ** 2).sum() / (spread**2).sum())
        self.matrix = directions[:size].T * (spread[0] / spread[:size]) ** evenness

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """(phrases, dim) -> unit vectors (phrases, size)."""
        return nn.functional.normalize((vectors - self.mean) @ self.matrix, dim=-1)

    def turn_towards(self, vectors: torch.Tensor, targets: torch.Tensor) -> None:
        """Rotates the space so that phrases come to lie near where a model has them, which costs no distance.

        Args:
            vectors: (phrases, dim), the teacher's.
            targets: (phrases, size), the model's.
        """
        here = self(vectors)
        left, _, right = torch.linalg.svd((here - here.mean(dim=0)).T @ (targets - targets.mean(dim=0)))
        self.matrix = self.matrix @ left @ right
