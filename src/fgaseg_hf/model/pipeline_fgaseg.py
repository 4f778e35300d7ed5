# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The pipeline `zero-shot-image-segmentation`: pictures and words in, one mask a word out."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import Pipeline
from transformers.image_utils import load_image

from .background_rivals import AUTOMATIC_BACKGROUND
from .picture_arrays import picture_to_array
from .picture_reading import open_picture
from .prompt_tokenizer import check_class_names
from .semantic_postprocessing import UNLABELLED_ID
from .text_encoding import encode_class_names
from .vocabulary import FGASegVocabulary
from .vocabulary_head import FGASegVocabularyHead

DEFAULT_BACKGROUND_THRESHOLD = 0.5

# Resized logits held at once where the best class of each pixel is looked for, counted in values (64 MiB of float32).
VALUES_PER_CHUNK = 2**24


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
            images: A picture (path, `http(s)` address, Pillow picture, array or tensor), or a list, generator or data
                set of such, of any sizes.
            candidate_labels: What to look for: a list of names, or a `FGASegVocabulary` with synonyms, groups and so
                on. If not given, the vocabulary that was set on the model.
            **kwargs: `threshold`: pixels whose best label has a probability below this belong to no mask.
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
            if isinstance(candidate_labels, str):
                raise ValueError(f"`candidate_labels` is {candidate_labels!r}: give a list of names.")
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
            if not 0 <= threshold <= 1:
                raise ValueError(f"`threshold` is {threshold}: give a probability from 0 to 1.")
            rule["threshold"] = threshold
        if background is not None:
            rule["background"] = background
        return {} if timeout is None else {"timeout": timeout}, labels, labels | rule

    def preprocess(self, image: Any, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Prepares one picture.

        Returns:
            `pixel_values` (1, 3, height, width), and the picture's own (height, width) in a list.
        """
        if isinstance(image, str) and image.startswith(("http://", "https://")):
            image = load_image(image, timeout=timeout)
        if isinstance(image, str | os.PathLike | Image.Image):
            image = open_picture(image)
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

    def _forward(self, model_inputs: dict[str, Any], candidate_labels: Any = None) -> dict[str, Any]:  # type: ignore[override]
        # The words go in here and not with the pictures: the collator would join those of all pictures of a batch.
        pixel_values = model_inputs["pixel_values"]
        if candidate_labels is None:
            if self.model.vocabulary is None:
                raise ValueError("There is nothing to look for: give `candidate_labels`, or set a vocabulary.")
            logits = self.model(pixel_values=pixel_values).logits
        else:
            words = self._encode(candidate_labels)
            logits = self.model(pixel_values=pixel_values, text_embeddings=words.text_embeddings).logits
            if words.vocabulary_head is not None:
                logits = words.vocabulary_head(logits)
        return {"logits": logits, "target_size": model_inputs["target_size"]}

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: dict[str, Any],
        candidate_labels: Any = None,
        threshold: float | None = None,
        background: str | None = None,
    ) -> list[dict[str, Any]]:
        """Turns one picture's logits into masks: see [`__call__`]."""
        logits, (size,) = model_outputs["logits"], model_outputs["target_size"]
        vocabulary = self.model.vocabulary if candidate_labels is None else candidate_labels
        if isinstance(vocabulary, list):
            labels, own_background = vocabulary, None
        else:
            labels, own_background = vocabulary.labels, vocabulary.background_label
        if background is not None:
            if background in labels:
                raise ValueError(f"The background {background!r} is one of the labels: give it another name.")
            threshold = DEFAULT_BACKGROUND_THRESHOLD if threshold is None else threshold
        (label_map,) = self.processor.post_process_semantic_segmentation(logits, [size], threshold=threshold)

        segments = []
        places = [place for place in label_map.unique().tolist() if place != UNLABELLED_ID]
        if background is not None and bool((label_map == UNLABELLED_ID).any()):
            places.append(UNLABELLED_ID)
        for index in places:
            is_here = label_map == index
            label = background if index == UNLABELLED_ID else labels[index]
            if label in (background, own_background):
                others = [place for place, other in enumerate(labels) if other != own_background]
                score = 1 - _best_logits(logits[:, others], size)[is_here].sigmoid().mean()
            else:
                score = _resize(logits[:, index, None], size)[0, 0][is_here].sigmoid().mean()
            segments.append({"label": label, "score": float(score), "mask": _mask_picture(is_here)})
        return segments

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Saves the model, its vocabulary if one is set, the processor, and the pipeline's own code."""
        super().save_pretrained(save_directory, **kwargs)
        # Transformers saves the processor's parts only.
        self.processor.save_pretrained(save_directory, **kwargs)

    def _encode(self, candidate_labels: Any) -> "EncodedWords":
        """Encodes names or a vocabulary, unless they are those of the batch before and all else is as it was then."""
        base = self.model.base_model
        weights = [*base.text_model.parameters(), *base.text_projection.parameters()]
        # Sums instead of a hash of the weights: quick enough to be made for every batch.
        sums = torch.stack([parameter.sum(dtype=torch.float64) for parameter in weights]).tolist()
        key = (candidate_labels, self.processor.prompt_templates, weights[0].device, weights[0].dtype, sums)
        if self._last_words is None or self._last_words.key != key:
            if isinstance(candidate_labels, list):
                embeddings = encode_class_names(self.model, self.processor, candidate_labels)
                self._last_words = EncodedWords(key, embeddings)
            else:
                vocabulary = candidate_labels
                if not vocabulary.is_encoded:
                    vocabulary = vocabulary.encode(self.model, self.processor)
                vocabulary.check_fit(self.model)
                head = FGASegVocabularyHead(vocabulary, self.model.config.decoder_type == "cosine").to(
                    self.model.device
                )
                self._last_words = EncodedWords(key, head.text_embeddings, head)
        return self._last_words


@dataclass(frozen=True)
class EncodedWords:
    """Words as the model takes them.

    Attributes:
        key: All that the embeddings depend on.
        text_embeddings: (phrases, dim).
        vocabulary_head: What turns logits of phrases into logits of labels, if they differ.
    """

    key: tuple[Any, ...]
    text_embeddings: torch.Tensor
    vocabulary_head: FGASegVocabularyHead | None = None


def with_automatic_background(candidate_labels: Any) -> FGASegVocabulary:
    """Names or a vocabulary -> a vocabulary with `background="auto"`."""
    if isinstance(candidate_labels, list):
        return FGASegVocabulary(candidate_labels, background=AUTOMATIC_BACKGROUND)
    return replace(candidate_labels, background=AUTOMATIC_BACKGROUND)


def _resize(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def _best_logits(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The highest logit of each pixel, (height, width), a few classes at a time."""
    best = torch.full(size, -torch.inf)
    chunk_size = max(1, VALUES_PER_CHUNK // (size[0] * size[1]))
    for start in range(0, logits.shape[1], chunk_size):
        best = torch.maximum(best, _resize(logits[:, start : start + chunk_size], size)[0].amax(dim=0))
    return best


def _mask_picture(is_here: torch.Tensor) -> Image.Image:
    return Image.fromarray(is_here.numpy().astype(np.uint8) * 255)


__all__ = ["ZeroShotImageSegmentationPipeline"]
