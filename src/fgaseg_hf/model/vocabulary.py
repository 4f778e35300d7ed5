# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Vocabularies: what a model answers with, the words that stand for each answer, and their embeddings."""

import os
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from .argument_checks import check_real
from .background_rivals import AUTOMATIC_BACKGROUND, NONE_OF_THESE, add_rivals
from .phrases import normalise_phrase
from .text_encoding import (
    FGASegTextEncoding,
    encode_class_names,
    hash_text_tower,
    hash_tokenizer,
)
from .vocabulary_files import (
    HUB_KWARGS,
    SETTINGS,
    broken_files_named,
    read_vocabulary_files,
    write_vocabulary_files,
)
from .vocabulary_words import Repetition, as_list, assign_groups, assign_synonyms, distinct_phrases


@dataclass(frozen=True)
class FGASegVocabulary:
    """What to look for in pictures, and what to call it.

    Every name is looked for by itself and by its synonyms; the best of them counts. Groups and the background change
    what is answered, not what is looked for: the answers, [`labels`], are the names that are in no group, the groups,
    and the background. Which order the names stand in decides the order of the labels and nothing else.

    A vocabulary does not change: [`encode`] and `dataclasses.replace` make new ones, and keep the embeddings of phrases
    that were encoded before.

    Args:
        names: What to look for, one name a class.
        synonyms: Further words for some of the names: `{"sofa": ["couch", "settee"]}`. The name itself is looked for
            too.
        groups: Names that are answered as one: `{"vehicle": ["car", "bus", "truck"]}`. The group's own name is not
            looked for.
        templates: Sentences with one `{}` for the phrase; those of the processor if not given.
        background: What to answer where no other label is likely enough ("none of these"); `None` switches this rule
            off. It may be one of the other labels: then it is answered there too. `"auto"` answers "none of these" also
            where a common name that means something else is likelier, see [`add_rivals`].
        background_threshold: A pixel is background where no label's probability (sigmoid of its logit) reaches this.
        repeated_names: Whether to `"refuse"` names, and synonyms of one name, that are given twice (letter case and
            blanks make no difference), or to `"merge"` them. One phrase for two different names is always refused.
        encoding: The phrases' embeddings; [`encode`] fills it in.

    Raises:
        ValueError: There is no name, one is blank or no string, or two labels or phrases clash.

    Example:
        >>> vocabulary = FGASegVocabulary(
        ...     ["car", "bus", "sofa", "sky"],
        ...     synonyms={"sofa": ["couch"]},
        ...     groups={"vehicle": ["car", "bus"]},
        ...     background="none of these",
        ... )
        >>> vocabulary.labels
        ['vehicle', 'sofa', 'sky', 'none of these']
        >>> model.set_vocabulary(vocabulary.encode(model, processor))
        >>> logits = model(pixel_values).logits
    """

    names: list[str]
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    templates: list[str] | None = None
    background: str | None = None
    background_threshold: float = 0.5
    repeated_names: InitVar[Repetition] = "refuse"
    encoding: FGASegTextEncoding | None = field(default=None, compare=False, repr=False)

    def __post_init__(self, repeated_names: Repetition) -> None:
        if repeated_names not in ("refuse", "merge"):
            raise ValueError(f"`repeated_names` is {repeated_names!r}: choose 'refuse' or 'merge'.")
        names = distinct_phrases(self.names, "`names`", repeated_names)
        synonyms = assign_synonyms(names, self.synonyms, repeated_names)
        groups, label_spelling = assign_groups(names, self.groups, repeated_names)
        background = self.background
        if background is not None:
            (background,) = distinct_phrases([background], "the name of `background`", "refuse")
            background = label_spelling.get(normalise_phrase(background), background)
            if background == AUTOMATIC_BACKGROUND and NONE_OF_THESE in label_spelling:
                raise ValueError(f"{NONE_OF_THESE!r} is what `background='auto'` answers: rename the label.")
        check_real("background_threshold", self.background_threshold, "a probability between 0 and 1", 0, 1)
        if not 0 < self.background_threshold < 1:
            raise ValueError(
                f"`background_threshold` is {self.background_threshold}: give a probability between 0 and 1."
            )
        settings = {
            "names": names,
            "synonyms": {name: words for name, words in synonyms.items() if words},
            "groups": groups,
            "background": background,
            "templates": None if self.templates is None else as_list(self.templates, "`templates`"),
        }
        for setting, value in settings.items():
            object.__setattr__(self, setting, value)

    @cached_property
    def labels(self) -> list[str]:
        """The answers, in the order of the logits: names without a group, groups at their first name, background."""
        group_of = self._group_of_names()
        labels = dict.fromkeys(group_of.get(name, name) for name in self.names)
        if self.background_label is not None:
            labels.setdefault(self.background_label)
        return list(labels)

    @property
    def background_label(self) -> str | None:
        """What is answered where no other label is likely enough."""
        return NONE_OF_THESE if self.background == AUTOMATIC_BACKGROUND else self.background

    @cached_property
    def phrases(self) -> list[str]:
        """All that is looked for, names and synonyms, in an order that does not depend on that of the names."""
        phrases = [*self.names, *(word for words in self.synonyms.values() for word in words)]
        return sorted(phrases, key=normalise_phrase)

    @property
    def label_of_phrase(self) -> list[int]:
        """For each of [`phrases`], the place of its label among [`labels`]."""
        group_of = self._group_of_names()
        place = {label: index for index, label in enumerate(self.labels)}
        label_of = {name: place[group_of.get(name, name)] for name in self.names}
        for name, words in self.synonyms.items():
            label_of |= dict.fromkeys(words, label_of[name])
        return [label_of[phrase] for phrase in self.phrases]

    @cached_property
    def is_encoded(self) -> bool:
        """Whether `encoding` holds every phrase, made with the vocabulary's templates."""
        if self.encoding is None or self.templates not in (None, self.encoding.templates):
            return False
        return self.background != AUTOMATIC_BACKGROUND and set(self.phrases) <= set(self.encoding.phrases)

    @property
    def embeddings(self) -> torch.Tensor:
        """Embeddings of [`phrases`], (phrases, dim).

        Raises:
            ValueError: If the vocabulary is not encoded.
        """
        if self.encoding is None or not self.is_encoded:
            raise ValueError("The vocabulary is not encoded: call `vocabulary.encode(model, processor)` first.")
        row_of = {phrase: row for row, phrase in enumerate(self.encoding.phrases)}
        return self.encoding.embeddings[[row_of[phrase] for phrase in self.phrases]]

    @property
    def input_ids(self) -> torch.Tensor | None:
        """Token ids of [`phrases`], (phrases, templates, length); `None` in files of before they were kept."""
        if self.encoding is None or not (self.is_encoded and self.encoding.is_tokenized):
            return None
        row_of = {phrase: row for row, phrase in enumerate(self.encoding.phrases)}
        return self.encoding.probe_input_ids[[row_of[phrase] for phrase in self.phrases]]

    def renewed(self, model: Any) -> "FGASegVocabulary":
        """The same vocabulary, encoded by a model whose text tower has learnt since.

        Args:
            model: A `FGASegModel` or `FGASegForSemanticSegmentation`.

        Raises:
            ValueError: If the token ids are not known, or the text tower's weights not in memory.
        """
        if self.encoding is None:
            raise ValueError("The vocabulary is not encoded: call `vocabulary.encode(model, processor)` first.")
        return replace(self, encoding=self.encoding.renewed(model))

    @property
    def key(self) -> str | None:
        """Key of the encoding, see [`FGASegTextEncoding`]; `None` if there is none."""
        return None if self.encoding is None else self.encoding.key

    def fits(self, model: Any) -> bool:
        """Whether the vocabulary is encoded, and by the model's text tower as it now is."""
        return self.encoding is not None and self.is_encoded and self.encoding.fits(model)

    def check_fit(self, model: Any) -> None:
        """Refuses what does not fit.

        Args:
            model: A `FGASegModel` or `FGASegForSemanticSegmentation`.

        Raises:
            ValueError: If the vocabulary is not encoded, or was encoded by another text tower.
        """
        if self.encoding is None or not self.is_encoded:
            raise ValueError("The vocabulary is not encoded: call `vocabulary.encode(model, processor)` first.")
        if not self.encoding.fits(model):
            raise ValueError(
                "The vocabulary was encoded by another text tower than this model's: set "
                "`vocabulary.encode(model, processor)`, and load a checkpoint with `vocabulary_key=None` until then."
            )

    def encode(self, model: Any, processor: Any, batch_size: int = 256) -> "FGASegVocabulary":
        """Encodes those of the phrases that were not encoded before, in bounded memory.

        Args:
            model: A `FGASegModel` or `FGASegForSemanticSegmentation`.
            processor: The checkpoint's `FGASegProcessor`.
            batch_size: How many prompts go through the text tower at a time.

        Returns:
            The vocabulary with its embeddings, made anew if they came from another text tower, tokenizer or template.
            With `background="auto"` it has rivals among its names then.

        Raises:
            ValueError: A template does not hold `{}` once, a prompt is too long for the text tower, or the text tower's
                weights are not in memory.
        """
        if self.background == AUTOMATIC_BACKGROUND:
            return add_rivals(self, model, processor)
        templates = processor.prompt_templates if self.templates is None else self.templates
        if templates != processor.prompt_templates:
            processor = type(processor)(processor.image_processor, processor.tokenizer, prompt_templates=templates)
        text_tower_hash = hash_text_tower(model)
        if text_tower_hash is None:
            raise ValueError("The text tower is offloaded: load the model into memory to encode a vocabulary.")
        phrases = self.phrases
        fresh = FGASegTextEncoding(
            phrases=phrases,
            embeddings=torch.empty(len(phrases), model.base_model.config.projection_dim),
            templates=list(templates),
            text_tower_hash=text_tower_hash,
            text_tower_dtype=str(model.base_model.text_projection.weight.dtype),
            tokenizer_hash=hash_tokenizer(processor.tokenizer),
            probe_input_ids=_token_ids(processor, phrases),
        )
        row_of: dict[str, int] = {}
        if self.encoding is not None and self.encoding.key == fresh.key:
            row_of = {phrase: row for row, phrase in enumerate(self.encoding.phrases)}
        old = [row for row, phrase in enumerate(phrases) if phrase in row_of]
        new = [row for row, phrase in enumerate(phrases) if phrase not in row_of]
        if old and self.encoding is not None:
            fresh.embeddings[old] = self.encoding.embeddings[[row_of[phrases[row]] for row in old]]
        if new:
            encoded = encode_class_names(model, processor, [phrases[row] for row in new], batch_size)
            fresh.embeddings[new] = encoded.float().cpu()
        return replace(self, encoding=fresh)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the vocabulary, encoded or not, into a folder, such as a checkpoint's.

        The description goes to `vocabulary.json`, the embeddings to `vocabulary-<hash>.safetensors`. If writing is cut
        off, whatever vocabulary lay there before is still whole.

        Args:
            folder: Where to write; made if it is missing.
        """
        write_vocabulary_files(folder, {name: getattr(self, name) for name in SETTINGS}, self.encoding)

    @classmethod
    def load(cls, source: str | os.PathLike[str], **hub_kwargs: Any) -> "FGASegVocabulary":
        """Reads what [`save`] wrote; no text is encoded.

        Args:
            source: A folder, or a checkpoint's id on the Hub.
            **hub_kwargs: `revision`, `token`, `cache_dir`, `subfolder`, `local_files_only`, ... for the Hub.

        Raises:
            ValueError: There is no vocabulary, or it is not whole.
        """
        with broken_files_named(source):
            settings, encoding = read_vocabulary_files(source, hub_kwargs)
            return cls(**settings, encoding=encoding)

    @classmethod
    def load_with_checkpoint(
        cls, source: str | os.PathLike[str], key: str, loading_kwargs: Mapping[str, Any]
    ) -> "FGASegVocabulary":
        """Reads the vocabulary that belongs to a checkpoint.

        Args:
            source: The checkpoint's folder or id on the Hub.
            key: The vocabulary's key in the checkpoint's configuration.
            loading_kwargs: What `from_pretrained` was called with; what concerns the Hub is used.

        Raises:
            ValueError: There is no vocabulary, it is not whole, or it has another key.
        """
        vocabulary = cls.load(source, **{name: loading_kwargs[name] for name in HUB_KWARGS if name in loading_kwargs})
        if vocabulary.key != key:
            raise ValueError(
                f"The vocabulary in {os.fspath(source)!r} is not the one that its checkpoint was saved with: save both "
                "anew, or load the checkpoint with `vocabulary_key=None`."
            )
        return vocabulary

    def _group_of_names(self) -> dict[str, str]:
        return {name: group for group, members in self.groups.items() for name in members}


def _token_ids(processor: Any, phrases: list[str]) -> torch.Tensor:
    input_ids = processor(text=phrases, return_tensors="pt")["input_ids"]
    return input_ids if input_ids.dim() == 3 else input_ids[:, None]


__all__ = ["FGASegVocabulary"]
