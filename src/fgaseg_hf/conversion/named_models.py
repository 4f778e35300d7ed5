# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models that are known by a name: where each comes from, under which licence, and how good it is published to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from ..data.published_results import PUBLISHED_MEAN_IOU

DEFAULT_MODEL = "scenes"
"""The small model that comes with the package."""


@dataclass(frozen=True)
class NamedModel:
    """A model that can be had by its name.

    Attributes:
        kind: `"built-in"`: it comes with the package; `"released"`: a file of weights that is converted; `"clip"`: a
            CLIP in the Hub's layout, which segments without training.
        source: Where it lies on the Hugging Face Hub: an id, or an id and a file.
        megabytes: About how much is fetched.
        license: Its licence, by the identifier that the Hub uses.
        about: What it is, in a few words.
        sha256: Of its files of weights by their names, where it is known from other places than the Hub. Of others that
            which the Hub names counts, and the one that was fetched first on this machine.
    """

    kind: Literal["built-in", "released", "clip"]
    source: str
    megabytes: int
    license: str
    about: str
    sha256: Mapping[str, str] = field(default_factory=dict)


NAMED_MODELS: dict[str, NamedModel] = {
    "scenes": NamedModel("built-in", "", 0, "apache-2.0", "small; at home in drawn scenes"),
    "catseg-base": NamedModel(
        "released", "spaces/hamacojr/CAT-Seg-weights/model_base.pth", 700, "mit", "CAT-Seg, ViT-B/16"
    ),
    "catseg-large": NamedModel(
        "released", "spaces/hamacojr/CAT-Seg-weights/model_large.pth", 1800, "mit", "CAT-Seg, ViT-L/14"
    ),
    "clip-base": NamedModel("clip", "openai/clip-vit-base-patch16", 600, "mit", "CLIP without training, ViT-B/16"),
    "clip-large": NamedModel(
        "clip",
        "openai/clip-vit-large-patch14-336",
        1710,
        "mit",
        "CLIP without training, ViT-L/14 at 336",
        # As several public projects that use this file have pinned it.
        {"pytorch_model.bin": "c6032c2e0caae3dc2d4fba35535fa6307dbb49df59c7e182b1bc4b3329b81801"},
    ),
    "openclip-base": NamedModel(
        "clip", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 600, "mit", "OpenCLIP without training, ViT-B/16"
    ),
    "openclip-large": NamedModel(
        "clip", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 1710, "mit", "OpenCLIP without training, ViT-L/14"
    ),
}


def builtin_model_folder() -> Path:
    """The folder of the small model that comes with the package, trained on drawn scenes and some photographs."""
    return Path(str(resources.files("fgaseg_hf") / "builtin_model"))


def published_mean_iou(name: str) -> Mapping[str, float]:
    """MIoU in per cent that a model's authors publish, by benchmark; empty where they publish none."""
    return PUBLISHED_MEAN_IOU.get(name, {})


__all__ = ["DEFAULT_MODEL", "NAMED_MODELS", "NamedModel", "builtin_model_folder", "published_mean_iou"]
