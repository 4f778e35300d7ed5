# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A vocabulary set on a model: what it answers with where no words are given, and how both are saved and loaded."""

import math
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_fgaseg import FGASegConfig
from .cosine_decoder import softmax_log_odds
from .model_outputs import FGASegOutput
from .vocabulary import FGASegVocabulary
from .vocabulary_files import is_vocabulary_file

logger = logging.get_logger(__name__)

# Of a label without any rival, whose odds are infinite: finite in half precision too.
LARGEST_LOG_ODDS = 1e4


class FGASegVocabularyHead(nn.Module):
    """The last step where a vocabulary is set: logits of phrases become logits of labels.

    Its buffers are no part of a checkpoint's weights: the vocabulary has files of its own.

    Args:
        vocabulary: An encoded vocabulary.
        is_softmax: Whether the phrases' probabilities sum to 1, as they do with `config.decoder_type` `"cosine"`. Then
            those of the labels do, too: synonyms take nothing from each other.

    Raises:
        ValueError: If it is not encoded.
    """

    text_embeddings: torch.Tensor
    label_of_phrase: torch.Tensor

    def __init__(self, vocabulary: FGASegVocabulary, is_softmax: bool = False) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.is_softmax = is_softmax
        labels = vocabulary.labels
        self.num_labels = len(labels)
        self.background_index = None if vocabulary.background is None else labels.index(vocabulary.background)
        threshold = vocabulary.background_threshold
        self.background_logit = math.log(threshold / (1 - threshold))
        self.register_buffer("text_embeddings", vocabulary.embeddings, persistent=False)
        self.register_buffer("label_of_phrase", torch.tensor(vocabulary.label_of_phrase), persistent=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Takes the best phrase of each label, and the threshold's logit where the background is concerned.

        Args:
            logits: (batch, phrases, height, width).

        Returns:
            (batch, labels, height, width).
        """
        index = self.label_of_phrase.to(logits.device)[None, :, None, None].expand_as(logits)
        lowest = torch.finfo(logits.dtype).min
        merged = logits.new_full((logits.shape[0], self.num_labels, *logits.shape[2:]), lowest)
        merged = merged.scatter_reduce(1, index, logits, reduce="amax")
        if self.is_softmax:
            merged = self._softmax_over_labels(merged)
        if self.background_index is None:
            return merged
        floor = merged.new_full((self.num_labels,), lowest)
        floor[self.background_index] = self.background_logit
        return torch.maximum(merged, floor[:, None, None])

    @staticmethod
    def _softmax_over_labels(logits: torch.Tensor) -> torch.Tensor:
        """Log-odds of each label's best phrase among all phrases -> the same among the labels' best phrases."""
        # Probabilities in proportion to those of the phrases: log p of a phrase is the log-sigmoid of its log-odds.
        log_odds = softmax_log_odds(nn.functional.logsigmoid(logits.float()))
        return log_odds.clamp(torch.finfo(logits.dtype).min, LARGEST_LOG_ODDS).to(logits.dtype)


class FGASegVocabularyMixin(PreTrainedModel):
    """What a segmentation model does with a vocabulary of its own."""

    config: FGASegConfig
    vocabulary_head: FGASegVocabularyHead | None

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in Transformers; the vocabulary that was saved with the model is set again.

        Raises:
            ValueError: If the vocabulary is not whole, or of another text tower; `vocabulary_key=None` leaves it out.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        if source is not None and model.config.vocabulary_key is not None:
            model.set_vocabulary(FGASegVocabulary.load_with_checkpoint(source, model.config.vocabulary_key, kwargs))
        return loaded

    def save_pretrained(
        self, save_directory: str | PathLike[str], is_main_process: bool = True, *args: Any, **kwargs: Any
    ) -> None:
        """As in Transformers; the vocabulary, if one is set, is saved too."""
        vocabulary = self.vocabulary
        if vocabulary is not None and not vocabulary.fits(self):
            logger.warning("The text tower has changed since the vocabulary was encoded: saving without vocabulary.")
            vocabulary = None
        key_in_memory = self.config.vocabulary_key
        self.config.vocabulary_key = None if vocabulary is None else vocabulary.key
        try:
            if vocabulary is not None and is_main_process:
                vocabulary.save(save_directory)
            super().save_pretrained(save_directory, is_main_process, *args, **kwargs)
        finally:
            self.config.vocabulary_key = key_in_memory

    def _get_files_timestamps(self, working_dir: str | PathLike[str]) -> dict[str, float]:
        # Transformers asks for this after the vocabulary was written, and uploads only what changes from then on.
        timestamps = super()._get_files_timestamps(working_dir)
        return {name: time for name, time in timestamps.items() if not is_vocabulary_file(Path(name).name)}

    @property
    def vocabulary(self) -> FGASegVocabulary | None:
        """The vocabulary that the model answers with if no words are given."""
        return None if self.vocabulary_head is None else self.vocabulary_head.vocabulary

    def set_vocabulary(self, vocabulary: FGASegVocabulary | None) -> None:
        """Chooses what the model answers with if no words are given; it is saved with the model.

        `config.id2label` follows. What is called with words of its own is answered as before.

        Args:
            vocabulary: An encoded vocabulary; `None` leaves the model without one.

        Raises:
            ValueError: If the vocabulary is not encoded, or was encoded by another text tower.
        """
        if vocabulary is None:
            self.vocabulary_head, self.config.vocabulary_key = None, None
            return
        vocabulary.check_fit(self)
        self.vocabulary_head = FGASegVocabularyHead(vocabulary, self.config.decoder_type == "cosine").to(self.device)
        self.config.vocabulary_key = vocabulary.key
        self.config.id2label = dict(enumerate(vocabulary.labels))
        self.config.label2id = {label: index for index, label in enumerate(vocabulary.labels)}

    def _segment_with_vocabulary(
        self,
        vocabulary_head: FGASegVocabularyHead,
        pixel_values: torch.Tensor | None,
        class_indices: torch.Tensor | None,
        labels: torch.Tensor | None,
        **kwargs: Any,
    ) -> FGASegOutput:
        if class_indices is not None or labels is not None:
            raise ValueError(
                "`class_indices` and `labels` are places among class names that are given with them, and a vocabulary "
                "that was set is for prediction; give `input_ids` or `text_embeddings` too."
            )
        output = self(pixel_values, text_embeddings=vocabulary_head.text_embeddings, return_dict=True, **kwargs)
        # What else there is has one row a phrase, not a label.
        return FGASegOutput(
            logits=vocabulary_head(output.logits), hidden_states=output.hidden_states, attentions=output.attentions
        )


__all__ = ["FGASegVocabularyHead", "FGASegVocabularyMixin"]
