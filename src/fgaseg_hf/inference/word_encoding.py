# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Words -> what the model takes, encoded once and kept."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ..model.background_rivals import AUTOMATIC_BACKGROUND, COMMON_NAMES, NONE_OF_THESE, rival_places
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.phrases import normalise_phrase
from ..model.processing_fgaseg import FGASegProcessor
from ..model.prompt_tokenizer import check_class_names
from ..model.text_encoding import FGASegTextEncoding, encode_class_names
from ..model.vocabulary import FGASegVocabulary
from ..model.vocabulary_head import FGASegVocabularyHead

Words = str | Iterable[str] | FGASegVocabulary
"""What to look for: words, a text of words, or a vocabulary."""

# With 512 numbers a word 40 MB, with 768 60 MB.
MAX_CACHED_WORDS = 20_000
# Common names beside the words that are asked for, with `background="auto"`.
MAX_RIVALS = 64


@dataclass(frozen=True)
class EncodedWords:
    """Words as the model takes them.

    Attributes:
        labels: The answers, in the order of the logits.
        text_embeddings: (phrases, dim), unit rows, on the model's device.
        head: What turns logits of phrases into logits of labels, where they differ.
        background_index: Which of the labels is the background's, if there is one.
    """

    labels: tuple[str, ...]
    text_embeddings: torch.Tensor
    head: FGASegVocabularyHead | None = None
    background_index: int | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """What is looked for, one a row of `text_embeddings`: with synonyms, groups and rivals more than the labels."""
        return self.labels if self.head is None else tuple(self.head.vocabulary.phrases)

    def label_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of phrases (batch, phrases, height, width) -> of labels (batch, labels, height, width)."""
        return logits if self.head is None else self.head(logits)


class WordEncoder:
    """Encodes words by one model; what was encoded last is kept, by template and word.

    May be called by several threads at once.

    Args:
        model: In evaluation mode. Its text tower's weights must stay as they are.
        processor: The model's.
        max_words: How many words to keep.
    """

    def __init__(
        self, model: FGASegForSemanticSegmentation, processor: FGASegProcessor, max_words: int = MAX_CACHED_WORDS
    ) -> None:
        self.model = model
        self.processor = processor
        self.max_words = max_words
        self._kept: OrderedDict[tuple[tuple[str, ...], str], torch.Tensor] = OrderedDict()
        # Tokenizers are not made for several threads, and two threads need not encode the same words.
        self._lock = threading.Lock()

    def encode(self, words: Sequence[str] | FGASegVocabulary, templates: Sequence[str] | None = None) -> EncodedWords:
        """Makes words ready for the model.

        Args:
            words: Names, one a class, or a vocabulary with synonyms, groups or a background.
            templates: Sentences with one `{}` for the word; the vocabulary's or else the processor's if not given.

        Raises:
            ValueError: There is no word, one is blank, repeated or too long, or a template does not hold `{}` once.
        """
        if not isinstance(words, FGASegVocabulary):
            names = check_class_names(words)
            return EncodedWords(tuple(names), self.embed(names, templates))
        if words.background == AUTOMATIC_BACKGROUND:
            words = self._with_rivals(words, templates)
        phrases = words.phrases
        embeddings = self.embed(phrases, templates or words.templates)
        encoding = FGASegTextEncoding(
            phrases=phrases,
            embeddings=embeddings,
            templates=list(templates or words.templates or self.processor.prompt_templates),
            # These three tell encodings of different models apart; this one goes nowhere.
            text_tower_hash="",
            text_tower_dtype="",
            tokenizer_hash="",
            probe_input_ids=torch.empty(0, dtype=torch.long),
        )
        encoded = FGASegVocabulary(
            words.names,
            synonyms=words.synonyms,
            groups=words.groups,
            templates=encoding.templates,
            background=words.background,
            background_threshold=words.background_threshold,
            encoding=encoding,
        )
        head = FGASegVocabularyHead(encoded, self.model.config.decoder_type == "cosine").to(self.model.device)
        return EncodedWords(tuple(encoded.labels), embeddings, head, head.background_index)

    def _with_rivals(self, asked: FGASegVocabulary, templates: Sequence[str] | None) -> FGASegVocabulary:
        """Adds common names to what is asked for, all of them answered as "none of these"."""
        if normalise_phrase(NONE_OF_THESE) in map(normalise_phrase, replace(asked, background=None).labels):
            raise ValueError(f"{NONE_OF_THESE!r} is what is answered where none of the words is: rename that word.")
        sentences = templates or asked.templates
        phrases = asked.phrases
        places = rival_places(
            phrases, self.embed(phrases, sentences), COMMON_NAMES, self.embed(COMMON_NAMES, sentences), MAX_RIVALS
        )
        chosen = [COMMON_NAMES[place] for place in places]
        has_softmax = self.model.config.decoder_type == "cosine"
        return replace(
            asked,
            names=[*asked.names, *chosen],
            groups=asked.groups | ({NONE_OF_THESE: chosen} if chosen else {}),
            # With a softmax over all words, the rivals are the only rule.
            background=None if has_softmax and chosen else NONE_OF_THESE,
            encoding=None,
        )

    @torch.inference_mode()
    def embed(self, words: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """Encodes words, one row each, (words, dim), of unit length, on the model's device."""
        sentences = tuple(self.processor.prompt_templates if templates is None else templates)
        keys = [(sentences, normalise_phrase(word)) for word in words]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
            new = [word for word, key in zip(words, keys, strict=True) if key not in known]
            if new:
                processor = FGASegProcessor(
                    self.processor.image_processor, self.processor.tokenizer, prompt_templates=list(sentences)
                )
                rows = encode_class_names(self.model, processor, new)
                known |= {(sentences, normalise_phrase(word)): row for word, row in zip(new, rows, strict=True)}
            for key in keys:
                self._kept[key] = known[key]
                self._kept.move_to_end(key)
            while len(self._kept) > self.max_words:
                self._kept.popitem(last=False)
        return torch.stack([known[key] for key in keys])

    def remember(self, encoding: FGASegTextEncoding) -> None:
        """Keeps what was encoded before, by this model's own text tower."""
        sentences = tuple(encoding.templates)
        rows = encoding.embeddings.to(self.model.device, self.model.dtype)
        with self._lock:
            for phrase, row in zip(encoding.phrases[: self.max_words], rows, strict=False):
                self._kept[sentences, normalise_phrase(phrase)] = row


def vocabulary_of_words(
    words: Sequence[str] | FGASegVocabulary,
    synonyms: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    background: str | None,
    threshold: float | None,
) -> list[str] | FGASegVocabulary:
    """Puts words, synonyms, groups and the background rule together; members of groups need not stand among the words.

    Returns:
        The words themselves where there is nothing else, else a vocabulary that is not encoded.

    Raises:
        ValueError: Names clash.
    """
    own = words if isinstance(words, FGASegVocabulary) else None
    listed = own.names if own is not None else list(words)  # type: ignore[arg-type]
    if own is None and (listed or not groups):
        listed = check_class_names(listed)
    if own is None and not synonyms and not groups and background is None:
        return listed
    names = {normalise_phrase(name): name for name in listed}
    for member in (member for members in groups.values() for member in members):
        names.setdefault(normalise_phrase(member), member)
    if background is None and own is not None:
        background = own.background
    if threshold is None or background is None:
        threshold = 0.5 if own is None else own.background_threshold
    return FGASegVocabulary(
        list(names.values()),
        synonyms={**(own.synonyms if own else {}), **{name: list(more) for name, more in synonyms.items()}},
        groups={**(own.groups if own else {}), **{name: list(members) for name, members in groups.items()}},
        templates=own.templates if own else None,
        background=background,
        background_threshold=threshold,
    )


__all__ = ["EncodedWords", "WordEncoder", "Words", "vocabulary_of_words"]
