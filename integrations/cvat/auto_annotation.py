# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A CVAT auto-annotation function: `create(labels="car,road")` gives what `cvat-cli task auto-annotate` loads."""

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk.masks import encode_mask
from PIL import Image

from fgaseg_hf import Segmenter


class WordMasks:
    """Draws a mask for each word that is in a picture.

    Args:
        segmenter: The model.
        labels: The words: labels of the CVAT task.
    """

    def __init__(self, segmenter: Segmenter, labels: list[str]) -> None:
        self._segmenter = segmenter
        self._labels = labels
        # Words that the model cannot be asked for are found out here, before CVAT fetches pictures.
        segmenter.encode(labels)
        specs = [cvataa.label_spec(label, number, type="mask") for number, label in enumerate(labels)]
        self.spec = cvataa.DetectionFunctionSpec(labels=specs)

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image.Image) -> list[cvataa.DetectionAnnotation]:
        """Segments one picture; CVAT's own least probability is that of a word's mask."""
        result = self._segmenter(image, self._labels)
        threshold = context.conf_threshold or 0
        return [
            cvataa.mask(self._labels.index(word.name), encode_mask(word.mask, word.box))
            for word in result
            if (word.score or 0) >= threshold
        ]


def create(labels: str, model: str = "scenes") -> WordMasks:
    """What CVAT calls with its `-p` parameters.

    Args:
        labels: Words between commas.
        model: See [`Segmenter`].
    """
    words = [word.strip() for word in labels.split(",") if word.strip()]
    return WordMasks(Segmenter(model), words)
