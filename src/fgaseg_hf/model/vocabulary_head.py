# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A vocabulary set on a model: what it answers with where no words are given, and how both are saved and loaded."""

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_fgaseg import FGASegConfig
from .cosine_decoder import softmax_log_odds
from .known_classes import known_class_names, stored_class_names
from .losses import check_class_weights, check_labels
from .model_inputs import whole_labels
from .model_outputs import FGASegOutput
from .prompt_tokenizer import FGASegPromptTokenizer, is_prompt_file
from .text_encoding import (
    encode_token_ids,
    fingerprint_text_tower,
    has_adapters,
    is_text_tower_whole,
    text_tower_parameters,
)
from .training_loss import training_losses
from .vocabulary import FGASegVocabulary
from .vocabulary_files import HUB_KWARGS, is_vocabulary_file

logger = logging.get_logger(__name__)

# Of a label without any rival, whose odds are infinite: finite in half precision too.
LARGEST_LOG_ODDS = 1e4


class FGASegVocabularyHead(nn.Module):
    """The first and the last step where a vocabulary is set: its words, and labels' logits from those of phrases.

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
    input_ids: torch.Tensor | None

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
        self.register_buffer("input_ids", vocabulary.input_ids, persistent=False)
        # Of the text tower that made `text_embeddings`; `None` before the model has said.
        self.fingerprint: tuple[Any, ...] | None = None
        # Whether the text tower may have learnt since, also where no fingerprint can be taken.
        self.has_learnt = False

    def words(self, model: Any, is_learning: bool) -> torch.Tensor:
        """Embeddings of the phrases by the model's text tower as it is now.

        They are computed once, and anew when the text tower has changed; where they are to be learnt, at every call.

        Args:
            model: The model that this head belongs to.
            is_learning: Whether gradients of the text tower's weights are wanted.

        Returns:
            (phrases, dim).

        Raises:
            ValueError: If they are to be learnt, and the phrases' token ids are not known.
        """
        if self.input_ids is None and is_learning:
            raise ValueError(
                "The vocabulary was saved without its words' token ids, which a text tower that learns needs: set it "
                "anew by `model.set_vocabulary(model.vocabulary.encode(model, processor))`."
            )
        if self.input_ids is None or not (is_learning or self._is_outdated(model)):
            return self.text_embeddings
        if is_learning or torch.compiler.is_compiling() or has_adapters(model):
            self.has_learnt = self.has_learnt or is_learning
            return model.get_text_embeddings(self.input_ids)
        self.text_embeddings = encode_token_ids(model, self.input_ids).to(self.text_embeddings.dtype)
        self.fingerprint, self.has_learnt = fingerprint_text_tower(model), False
        return self.text_embeddings

    def _is_outdated(self, model: Any) -> bool:
        if torch.compiler.is_compiling():
            return self.has_learnt
        return has_adapters(model) or self.has_learnt or self.fingerprint != fingerprint_text_tower(model)

    def forward(self, logits: torch.Tensor, is_softmax: bool | None = None) -> torch.Tensor:
        """Takes the best phrase of each label, and the threshold's logit where the background is concerned.

        Args:
            logits: (batch, phrases, height, width).
            is_softmax: Whether their probabilities sum to 1; as the model's do, if not given.

        Returns:
            (batch, labels, height, width).
        """
        merged = self.merge_phrases(logits)
        if self.is_softmax if is_softmax is None else is_softmax:
            merged = self._softmax_over_labels(merged)
        return self._with_background(merged)

    def merge_phrases(self, logits: torch.Tensor) -> torch.Tensor:
        """Takes the best phrase of each label, (batch, phrases, height, width) -> (batch, labels, height, width)."""
        index = self.label_of_phrase.to(logits.device)[None, :, None, None].expand_as(logits)
        lowest = torch.finfo(logits.dtype).min
        merged = logits.new_full((logits.shape[0], self.num_labels, *logits.shape[2:]), lowest)
        return merged.scatter_reduce(1, index, logits, reduce="amax")

    def _with_background(self, merged: torch.Tensor) -> torch.Tensor:
        if self.background_index is None:
            return merged
        floor = merged.new_full((self.num_labels,), torch.finfo(merged.dtype).min)
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
    alignment_head: nn.Module | None
    vocabulary_head: FGASegVocabularyHead | None
    # Makes token ids of words; a model that knows its classes keeps it, and saves it beside them.
    prompt_tokenizer: FGASegPromptTokenizer | None = None

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in Transformers; the model then answers with the words that are its own.

        These are the vocabulary that was saved with it; or, if `id2label` (or that of `config`) has other names than
        `LABEL_0` and its like, these names, tokenized with the checkpoint's tokenizer and templates.

        Raises:
            ValueError: If the vocabulary is not whole, or of another text tower (`vocabulary_key=None` leaves it out);
                or if the names of `id2label` are given and there is no tokenizer, one is twice there, or an id missing.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        if source is not None:
            model._take_words_of(source, {name: kwargs[name] for name in HUB_KWARGS if name in kwargs})
        return loaded

    def _take_words_of(self, source: str | os.PathLike[str], hub_kwargs: dict[str, Any]) -> None:
        """Sets the vocabulary of a checkpoint, or the names that the configuration has for its classes."""
        config = self.config
        names = known_class_names(config)
        if config.vocabulary_key is not None:
            vocabulary = FGASegVocabulary.load_with_checkpoint(source, config.vocabulary_key, hub_kwargs)
            if names is None or names == vocabulary.labels:
                self.set_vocabulary(vocabulary)
                with contextlib.suppress(ValueError):
                    self.prompt_tokenizer = FGASegPromptTokenizer.from_checkpoint(
                        source, config.text_config, hub_kwargs
                    )
                return
            config.vocabulary_key = None
        if names is None:
            return
        stored = stored_class_names(source, hub_kwargs)
        if stored.names == names and stored.has_vocabulary:
            # Its vocabulary was left out on purpose.
            return
        try:
            tokenizer = FGASegPromptTokenizer.from_checkpoint(source, config.text_config, hub_kwargs)
        except ValueError as error:
            if stored.names != names:
                raise ValueError(f"The names of `id2label` cannot be made words of the model: {error}") from error
            logger.warning(f"The model names its classes, but cannot ask for them: {error}")
            return
        self.set_vocabulary(FGASegVocabulary(names).encode(self, tokenizer))
        self.prompt_tokenizer = tokenizer

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], is_main_process: bool = True, *args: Any, **kwargs: Any
    ) -> None:
        """As in Transformers; the vocabulary, if one is set, is saved too, and what makes token ids of words."""
        vocabulary = self._vocabulary_as_it_is() if is_main_process else None
        key_in_memory = self.config.vocabulary_key
        self.config.vocabulary_key = None if vocabulary is None else vocabulary.key
        try:
            if vocabulary is not None:
                vocabulary.save(save_directory)
            if is_main_process and self.vocabulary is not None and self.prompt_tokenizer is not None:
                # Imported here, since nothing else of it is needed; but an import it must be, for its code to be saved.
                from .processing_fgaseg import FGASegProcessor

                code = {"AutoProcessor": f"processing_fgaseg.{FGASegProcessor.__name__}"}
                self.prompt_tokenizer.save_missing(save_directory, code if self.is_remote_code() else None)
            super().save_pretrained(save_directory, is_main_process, *args, **kwargs)
        finally:
            self.config.vocabulary_key = key_in_memory

    def _vocabulary_as_it_is(self) -> FGASegVocabulary | None:
        """The vocabulary with embeddings of the text tower as it is now; `None` if there are none to be had."""
        vocabulary = self.vocabulary
        if vocabulary is None or (is_text_tower_whole(self) and vocabulary.fits(self)):
            return vocabulary
        if vocabulary.input_ids is not None and is_text_tower_whole(self):
            return vocabulary.renewed(self)
        logger.warning("The text tower has changed since the vocabulary was encoded: saving without vocabulary.")
        return None

    def _get_files_timestamps(self, working_dir: str | os.PathLike[str]) -> dict[str, float]:
        # Transformers asks for this after the words were written, and uploads only what changes from then on.
        timestamps = super()._get_files_timestamps(working_dir)
        return {
            name: time
            for name, time in timestamps.items()
            if not (is_vocabulary_file(Path(name).name) or is_prompt_file(Path(name).name))
        }

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        # Moving and casting changes where weights lie, but not what words mean.
        head = self.vocabulary_head
        is_current = head is not None and head.fingerprint == fingerprint_text_tower(self)
        moved = super()._apply(*args, **kwargs)
        if head is not None and is_current:
            head.fingerprint = fingerprint_text_tower(self)
        return moved

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
            if self.vocabulary_head is not None:
                # Placeholders: names would be taken for words again where the model is loaded.
                placeholders = {index: f"LABEL_{index}" for index in range(self.vocabulary_head.num_labels)}
                self.config.id2label = placeholders
                self.config.label2id = {label: index for index, label in placeholders.items()}
            self.vocabulary_head, self.config.vocabulary_key = None, None
            return
        vocabulary.check_fit(self)
        head = FGASegVocabularyHead(vocabulary, self.config.decoder_type == "cosine").to(self.device)
        head.fingerprint = fingerprint_text_tower(self)
        self.vocabulary_head = head
        self.config.vocabulary_key = vocabulary.key
        self.config.id2label = dict(enumerate(vocabulary.labels))
        self.config.label2id = {label: index for index, label in enumerate(vocabulary.labels)}

    def _segment_with_vocabulary(
        self,
        vocabulary_head: FGASegVocabularyHead,
        pixel_values: torch.Tensor | None,
        class_indices: torch.Tensor | None,
        labels: torch.Tensor | None,
        class_weights: torch.Tensor | None,
        **kwargs: Any,
    ) -> FGASegOutput:
        if class_indices is not None:
            raise ValueError(
                "`class_indices` are places among class names that are given with them; give `input_ids` or "
                "`text_embeddings` too."
            )
        if labels is not None:
            labels = whole_labels(labels)
            pictures = kwargs["image_features"].patch_features if pixel_values is None else pixel_values
            self._check_labels_of_vocabulary(len(pictures), vocabulary_head.num_labels, labels, class_weights)
        learns = any(parameter.requires_grad for parameter in text_tower_parameters(self))
        is_training = torch.is_grad_enabled() and (self.training or labels is not None)
        words = vocabulary_head.words(self, is_learning=learns and is_training)
        output = self.forward(pixel_values, text_embeddings=words, return_dict=True, **kwargs)
        # What is left out has one row a phrase, not a label.
        merged: dict[str, Any] = {"logits": vocabulary_head(output.logits)}
        if labels is not None:
            merged |= {"auxiliary_logits": None, "alignment_logits": None}
            if output.auxiliary_logits is not None:
                merged["auxiliary_logits"] = tuple(vocabulary_head(logits) for logits in output.auxiliary_logits)
            if self.alignment_head is not None:
                alignment = self.alignment_head(output.aligned_text_embeddings, output.patch_features)
                merged["alignment_logits"] = vocabulary_head(alignment, is_softmax=False)
            merged |= training_losses(**merged, labels=labels, config=self.config, class_weights=class_weights)
        return FGASegOutput(**merged, hidden_states=output.hidden_states, attentions=output.attentions)

    def _check_labels_of_vocabulary(
        self, batch_size: int, num_labels: int, labels: torch.Tensor, class_weights: torch.Tensor | None
    ) -> None:
        """Refuses, before anything is computed, labels and weights that do not fit the vocabulary."""
        ignore_index = self.config.semantic_loss_ignore_index
        if 0 <= ignore_index < num_labels:
            raise ValueError(
                f"With {num_labels} classes the label {ignore_index} cannot mean 'ignored'; set "
                "`config.semantic_loss_ignore_index` to -100."
            )
        check_labels(labels, batch_size, num_labels, ignore_index)
        if class_weights is not None:
            check_class_weights(class_weights, batch_size, num_labels)


__all__ = ["FGASegVocabularyHead", "FGASegVocabularyMixin"]
