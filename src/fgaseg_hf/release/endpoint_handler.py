# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a Hub Inference Endpoint calls; `fgaseg release` writes this file as `handler.py` beside the weights.

It needs no package but Transformers: the model's code lies in the repository. Requests are those of the task
`image-segmentation`, and may ask for words of their own: `{"inputs": base64 or a picture, "parameters":
{"candidate_labels": ["car", "road"], "threshold": 0.5}}`.
"""

import base64
import binascii
import io
from typing import Any

from PIL import Image, UnidentifiedImageError
from transformers import pipeline

# What of the task's parameters has a meaning here; a semantic segmentation has no instances that could overlap.
PARAMETERS = ("candidate_labels", "threshold", "background")
WITHOUT_EFFECT = ("mask_threshold", "overlap_mask_area_threshold", "subtask")


class EndpointHandler:
    """Answers the task `image-segmentation` with the model of a folder.

    Args:
        path: The repository's folder.
    """

    def __init__(self, path: str = "") -> None:
        # Transformers knows the types of its own tasks alone.
        make_pipeline: Any = pipeline
        self._pipeline = make_pipeline("zero-shot-image-segmentation", model=path, trust_remote_code=True)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Segments one picture.

        Args:
            data: `inputs`, a picture, its file's bytes, or those in base64; and maybe `parameters`.

        Returns:
            `label`, `score` and `mask` (a black-and-white PNG in base64) of each word that is in the picture.

        Raises:
            ValueError: The picture cannot be read, a parameter is unknown, or there are no words.
        """
        parameters = dict(data.get("parameters") or {})
        unknown = [name for name in parameters if name not in (*PARAMETERS, *WITHOUT_EFFECT)]
        if unknown:
            raise ValueError(f"There is no parameter {unknown[0][:50]!r}: choose among {', '.join(PARAMETERS)}.")
        chosen = {name: parameters[name] for name in PARAMETERS if parameters.get(name) is not None}
        segments = self._pipeline(_open(data.get("inputs")), **chosen)
        return [{**segment, "mask": _encode(segment["mask"])} for segment in segments]


def _open(inputs: Any) -> Image.Image:
    if isinstance(inputs, Image.Image):
        return inputs
    try:
        if isinstance(inputs, str):
            inputs = base64.b64decode(inputs.rpartition("base64,")[2], validate=True)
        return Image.open(io.BytesIO(inputs))
    except (binascii.Error, UnidentifiedImageError, OSError, TypeError, ValueError) as error:
        raise ValueError("`inputs` is no picture: give a file's bytes, or these in base64.") from error


def _encode(mask: Image.Image) -> str:
    buffer = io.BytesIO()
    mask.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
