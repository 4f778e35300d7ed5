# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The pipeline `zero-shot-image-segmentation`: pictures and words in, one mask a word out."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Pipeline

from .argument_checks import check_real
from .background_rivals import AUTOMATIC_BACKGROUND
from .label_maps import find_best_classes
from .picture_arrays import picture_to_array
from .picture_reading import open_picture
from .prompt_tokenizer import check_class_names
from .quoting import quote
from .semantic_postprocessing import UNLABELLED_ID, mark_unlabelled
from .text_encoding import encode_class_names
from .vocabulary import FGASegVocabulary
from .vocabulary_head import FGASegVocabularyHead

DEFAULT_BACKGROUND_THRESHOLD = 0.5

# How many of a parameter's values are looked at to find out whether it has changed.
VALUES_LOOKED_AT = 64
# Rows of a large picture whose probabilities are added up at once.
ROWS_AT_ONCE = 256


class ZeroShotImageSegmentationPipeline(Pipeline):
    """Segments pictures by words that are given with them.

    Args:
        model: A `FGASegForSemanticSegmentation`.
        processor: Its `FGASegProcessor`.
        **kwargs: Those of every pipeline (`device`, `batch_size`, ...), and those of a call, to hold for all calls.

    Example:
        >>> segmenter = pipeline("zero-shot-image-segmentation", model="folder-or-id")
        >>> segmenter("street.jpg", candidate_labels=["red car", "sky"], threshold=0.5, background="other")
        [{'label': 'red car', 'score': 0.91, 'mask': <PIL.Image.Image mode=L size=640x480>}, ...]
    """

    model: Any
    processor: Any
    _load_processor: Any = True
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._last_words: EncodedWords | None = None
        super().__init__(*args, **kwargs)

    def __call__(self, images: Any, candidate_labels: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Segments one picture or many.

        Args:
            images: A picture (path, `http(s)` or `data:` address, base64, Pillow picture, array or tensor), or a list,
                generator or data set of such, of any sizes.
            candidate_labels: What to look for: a list of names, or a `FGASegVocabulary` with synonyms, groups and so
                on. If not given, the vocabulary that was set on the model.
            **kwargs: `threshold`: pixels whose best label has a probability below this belong to no mask; the
                checkpoint's `default_threshold` if not given.
                `background`: a label for these pixels, whose mask then comes last; the threshold is 0.5 if not given.
                `"auto"` names them "none of these", and also those where a common name that was not asked for is
                likelier: for few words, and for models whose maps only rank words, see [`add_rivals`].
                `timeout`: seconds to wait for a picture from the network. `batch_size`: pictures at a time.

        Returns:
            For a picture, a list with one `{"label", "score", "mask"}` for each label that is in the picture, in the
            order of the labels; for several, one such list each (an iterator over them for generators and data sets).
            `score` is the mean probability of the label over its mask; the background's is one minus that of the best
            label. `mask` is a Pillow picture of mode `L` and of the picture's size, 255 where the label is.

        Raises:
            ValueError: There are no labels, one is blank or repeated; the background is one of them; the threshold is
                out of range; or a picture cannot be read.
        """
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        if isinstance(images, list | tuple) and not images:
            raise ValueError("`images` is empty: give at least one picture.")
        return super().__call__(images, **kwargs)

    def _sanitize_parameters(  # type: ignore[override]
        self,
        candidate_labels: Any = None,
        threshold: float | None = None,
        background: str | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        labels = {}
        if candidate_labels is not None:
            if isinstance(candidate_labels, str | bytes) or not (
                isinstance(candidate_labels, Iterable) or hasattr(candidate_labels, "encode")
            ):
                raise ValueError(f"`candidate_labels` is {quote(candidate_labels)}: give a list of names.")
            # A vocabulary has checked its names itself. It is told by what it can do, since code that was loaded from
            # the Hub and an installed package each have a class of their own.
            if not hasattr(candidate_labels, "encode"):
                candidate_labels = check_class_names(list(candidate_labels))
            labels["candidate_labels"] = candidate_labels
        if background == AUTOMATIC_BACKGROUND:
            if "candidate_labels" not in labels:
                raise ValueError("`background='auto'` needs `candidate_labels`; a vocabulary that was set has its own.")
            labels["candidate_labels"], background = with_automatic_background(labels["candidate_labels"]), None
        rule: dict[str, Any] = {}
        if threshold is not None:
            rule["threshold"] = check_real("threshold", threshold, "a probability from 0 to 1", 0, 1)
        if background is not None:
            if not isinstance(background, str) or not background.strip():
                raise ValueError(f"`background` is {quote(background)}: give a label of at least one word.")
            rule["background"] = background
        if timeout is not None:
            check_real("timeout", timeout, "seconds, 0 or more", 0)
        return {} if timeout is None else {"timeout": timeout}, labels | rule, {}

    def preprocess(self, image: Any, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Prepares one picture.

        Returns:
            `pixel_values` (1, 3, height, width), and the picture's own (height, width) in a list.
        """
        if isinstance(image, str | os.PathLike | Image.Image):
            image = open_picture(image, timeout)
            size = (image.height, image.width)
        elif isinstance(image, np.ndarray | torch.Tensor) and image.ndim in (2, 3):
            height, width = picture_to_array(image, do_convert_rgb=False).shape[-2:]
            size = (height, width)
        else:
            raise ValueError(
                f"Cannot read a picture from a {type(image).__name__}: give a path, a Pillow picture or an array, and "
                "of a data set its pictures alone, `KeyDataset(data_set, 'image')`."
            )
        inputs = self.processor(images=image, return_tensors="pt").to(self.dtype)
        # In a list, so that pictures alone and batches of them (whose sizes the collator lists) look alike afterwards.
        return {"pixel_values": inputs["pixel_values"], "target_size": [size]}

    def _forward(  # type: ignore[override]
        self,
        model_inputs: dict[str, Any],
        candidate_labels: Any = None,
        threshold: float | None = None,
        background: str | None = None,
    ) -> dict[str, Any]:
        # The words go in here and not with the pictures: the collator would join those of all pictures of a batch. They
        # are looked up once, for other threads may set other words meanwhile.
        words = self._look_up_words(candidate_labels)
        if background is not None:
            if background in words.labels:
                raise ValueError(f"The background {quote(background)} is one of the labels: give it another name.")
            threshold = DEFAULT_BACKGROUND_THRESHOLD if threshold is None else threshold
        elif threshold is None and words.own_background is None:
            # Code that was saved with a model by an earlier version knows no such field.
            threshold = getattr(self.model.config, "default_threshold", None)
        logits = self.model(pixel_values=model_inputs["pixel_values"], text_embeddings=words.text_embeddings).logits
        if words.vocabulary_head is not None:
            logits = words.vocabulary_head(logits)
        sizes = [
            size for entry in model_inputs["target_size"] for size in (entry if isinstance(entry, list) else [entry])
        ]
        # Not in `postprocess`, which is given what has left the accelerator: a label map is small beside logits.
        return {
            "labelled": [
                _label_picture(picture_logits, size, words, threshold, background)
                for picture_logits, size in zip(logits, sizes, strict=True)
            ]
        }

    def postprocess(self, model_outputs: dict[str, Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Turns one picture's label map into masks: see [`__call__`]."""
        labelled = model_outputs["labelled"]
        # Of a batch the pipeline hands out the pictures, and a list of one picture that was alone.
        labelled = labelled[0] if isinstance(labelled, list) else labelled
        label_map = labelled["label_map"].numpy()
        return [
            {"label": label, "score": score, "mask": Image.fromarray((label_map == index).astype(np.uint8) * 255)}
            for index, label, score in labelled["segments"]
        ]

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Saves the model, its vocabulary if one is set, the processor, and the pipeline's own code."""
        super().save_pretrained(save_directory, **kwargs)
        # Transformers saves the processor's parts only.
        self.processor.save_pretrained(save_directory, **kwargs)

    def _look_up_words(self, candidate_labels: Any) -> "EncodedWords":
        """Takes the words that were given, or else those of the vocabulary that is set on the model now.

        Raises:
            ValueError: There are neither.
        """
        if candidate_labels is not None:
            return self._encode(candidate_labels)
        vocabulary_head = self.model.vocabulary_head
        if vocabulary_head is None:
            raise ValueError("There is nothing to look for: give `candidate_labels`, or set a vocabulary.")
        vocabulary = vocabulary_head.vocabulary
        return EncodedWords(
            None,
            vocabulary_head.words(self.model, is_learning=False),
            vocabulary.labels,
            vocabulary.background_label,
            vocabulary_head,
        )

    def _encode(self, candidate_labels: Any) -> "EncodedWords":
        """Encodes names or a vocabulary, unless they are those of the batch before and all else is as it was then."""
        key = (candidate_labels, self.processor.prompt_templates, *_fingerprint_text_tower(self.model.base_model))
        words = self._last_words
        if words is not None and words.key == key:
            return words
        if isinstance(candidate_labels, list):
            embeddings = encode_class_names(self.model, self.processor, candidate_labels)
            words = EncodedWords(key, embeddings, candidate_labels)
        else:
            vocabulary = candidate_labels
            if not vocabulary.is_encoded:
                vocabulary = vocabulary.encode(self.model, self.processor)
            vocabulary.check_fit(self.model)
            head = FGASegVocabularyHead(vocabulary, self.model.config.decoder_type == "cosine").to(self.model.device)
            words = EncodedWords(key, head.text_embeddings, vocabulary.labels, vocabulary.background_label, head)
        # Kept for the next batch only: what is returned is this thread's own.
        self._last_words = words
        return words


@dataclass(frozen=True)
class EncodedWords:
    """Words as the model takes them, with all that an answer says of them.

    Attributes:
        key: All that the embeddings depend on; `None` for the model's own vocabulary.
        text_embeddings: (phrases, dim).
        labels: The answers, in the order of the logits.
        own_background: Which of them is answered where no other is likely enough.
        vocabulary_head: What turns logits of phrases into logits of labels, if they differ.
    """

    key: tuple[Any, ...] | None
    text_embeddings: torch.Tensor
    labels: list[str]
    own_background: str | None = None
    vocabulary_head: FGASegVocabularyHead | None = None


def with_automatic_background(candidate_labels: Any) -> FGASegVocabulary:
    """Names or a vocabulary -> a vocabulary with `background="auto"`."""
    if isinstance(candidate_labels, list):
        return FGASegVocabulary(candidate_labels, background=AUTOMATIC_BACKGROUND)
    return replace(candidate_labels, background=AUTOMATIC_BACKGROUND)


def _fingerprint_text_tower(base: Any) -> tuple[Any, ...]:
    """All that shows a change of the text tower's weights, quick enough to be made for every batch.

    Where each parameter lies, how often it was written to, and a few of its values, since what is written through
    `parameter.data` is not counted.
    """
    weights = [*base.text_model.parameters(), *base.text_projection.parameters()]
    places = tuple(
        (weight.data_ptr(), None if weight.is_inference() else weight._version, weight.device, weight.dtype)
        for weight in weights
        if not weight.is_meta
    )
    looked_at = [
        weight.detach().flatten()[:: max(weight.numel() // VALUES_LOOKED_AT, 1)].float().sum()
        for weight in weights
        if not weight.is_meta
    ]
    return places, tuple(torch.stack(looked_at).tolist()) if looked_at else ()


def _label_picture(
    logits: torch.Tensor, size: tuple[int, int], words: EncodedWords, threshold: float | None, background: str | None
) -> dict[str, Any]:
    """Labels one picture, on the device that its logits are on.

    Args:
        logits: (labels, height, width).
        size: The picture's height and width.
        words: The labels.
        threshold: See [`ZeroShotImageSegmentationPipeline.__call__`], as for `background`.
        background: See there.

    Returns:
        `label_map` of `size`, in int16 where that numbers all labels; and `segments`, the (place, label, score) of each
        label that is in the picture, `UNLABELLED_ID` being the place of the background.
    """
    dtype = torch.int16 if len(words.labels) <= torch.iinfo(torch.int16).max else torch.int32
    label_map, best = find_best_classes([(0, logits)], size, dtype=dtype)
    if threshold is not None:
        mark_unlabelled(label_map, best, threshold)
    probabilities = _mean_probabilities(label_map, best, len(words.labels))
    own_place = None if words.own_background is None else words.labels.index(words.own_background)
    if own_place is not None and {own_place, UNLABELLED_ID} & probabilities.keys():
        # What the background lacks is what the others have: its own logit is no measure of it.
        others = [place for place in range(len(words.labels)) if place != own_place]
        if others:
            _, best = find_best_classes([(0, logits[others])], size, dtype=dtype)
        of_others = _mean_probabilities(label_map, best, len(words.labels))
        probabilities |= {place: of_others[place] for place in (own_place, UNLABELLED_ID) if place in of_others}
    segments = []
    for place, probability in probabilities.items():
        if place == UNLABELLED_ID:
            continue
        segments.append((place, words.labels[place], 1 - probability if place == own_place else probability))
    if background is not None and UNLABELLED_ID in probabilities:
        segments.append((UNLABELLED_ID, background, 1 - probabilities[UNLABELLED_ID]))
    return {"label_map": label_map, "segments": segments}


def _mean_probabilities(label_map: torch.Tensor, best: torch.Tensor, num_labels: int) -> dict[int, float]:
    """The mean probability, by the place of a label (or `UNLABELLED_ID`), over the pixels that have it."""
    counts = torch.zeros(num_labels + 1, dtype=torch.float64, device=best.device)
    sums = torch.zeros_like(counts)
    for labels, logits in zip(label_map.split(ROWS_AT_ONCE), best.split(ROWS_AT_ONCE), strict=True):
        places = (labels.long() - UNLABELLED_ID).flatten()
        counts += torch.bincount(places, minlength=num_labels + 1)
        sums += torch.bincount(places, weights=logits.sigmoid().flatten().double(), minlength=num_labels + 1)
    return {
        place + UNLABELLED_ID: total / count
        for place, (count, total) in enumerate(zip(counts.tolist(), sums.tolist(), strict=True))
        if count
    }


__all__ = ["ZeroShotImageSegmentationPipeline"]
