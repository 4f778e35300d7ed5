# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What is measured: models with random weights, made-up pictures and words, and one callable a row."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPVisionConfig, CLIPVisionModel
from transformers.utils import logging

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation

# "A photo of a {} in the scene" with one or two words makes about so many tokens.
PROMPT_LENGTH = 12


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: `"fgaseg"`, `"catseg"` or `"clipseg"`.
        num_classes: Names (prompts).
        num_kept_classes: TopK, `None` for all.
        training: A step forward and back, words encoded within it, q and v of both towers training.
        checkpointing: Whether that step recomputes blocks instead of keeping their activations.
        class_limit: Of more classes than this, those whose global map peaks highest are decoded.
        num_decoded_classes: In training: of all names, which are scored, so many are decoded; `None` for all.
    """

    model: str
    num_classes: int
    num_kept_classes: int | None = None
    training: bool = False
    checkpointing: bool = False
    class_limit: int | None = 256
    num_decoded_classes: int | None = None

    @property
    def title(self) -> str:
        """The row in words."""
        name = {"fgaseg": "FGASeg", "catseg": "CAT-Seg configuration", "clipseg": "CLIPSeg (transformers)"}[self.model]
        if self.model == "clipseg":
            return f"{name}, {self.num_classes} prompts"
        if self.training:
            decoded = "" if self.num_decoded_classes is None else f", {self.num_decoded_classes} decoded"
            checkpointing = ", gradient checkpointing" if self.checkpointing else ""
            return f"{name}, training step, {self.num_classes} classes{decoded}{checkpointing}"
        kept = "all kept" if self.num_kept_classes is None else f"TopK {self.num_kept_classes}"
        if self.num_kept_classes is None and self.class_limit is not None and self.num_classes > self.class_limit:
            kept = f"limit {self.class_limit}"
        elif self.class_limit is None:
            kept += ", no limit"
        return f"{name}, {self.num_classes:,} classes, {kept}"


ROWS = {
    "20": Row("fgaseg", 20),
    "171": Row("fgaseg", 171),
    "171-top16": Row("fgaseg", 171, 16),
    "847-top16": Row("fgaseg", 847, 16),
    "10000-top16": Row("fgaseg", 10_000, 16),
    "10000-top16-no-limit": Row("fgaseg", 10_000, 16, class_limit=None),
    "catseg-20": Row("catseg", 20),
    "catseg-171": Row("catseg", 171),
    "catseg-847": Row("catseg", 847),
    "clipseg-5": Row("clipseg", 5),
    "clipseg-20": Row("clipseg", 20),
    "train": Row("fgaseg", 171, training=True),
    "train-checkpointing": Row("fgaseg", 171, training=True, checkpointing=True),
}
# Rows of `hard_negatives.py`.
HARD_NEGATIVE_ROWS = {
    "train": ROWS["train"],
    "train-32": Row("fgaseg", 32, training=True),
    "train-decode-32": Row("fgaseg", 171, training=True, num_decoded_classes=32),
}


@dataclass
class Workloads:
    """Models, made when first needed and shared by the rows, and the rows as callables.

    Attributes:
        batch_size: Pictures at a time.
        height: Their height in pixels.
        width: Their width in pixels.
        dtype: Of weights and pictures.
        device: Where to compute.
    """

    batch_size: int = 1
    height: int = 384
    width: int = 384
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    @cached_property
    def pixel_values(self) -> torch.Tensor:
        """Noise in place of pictures."""
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randn(self.batch_size, 3, self.height, self.width, generator=generator)
        return pictures.to(self.device, self.dtype)

    def text_embeddings(self, num_classes: int) -> torch.Tensor:
        """Random directions in place of words, (classes, dim)."""
        words = torch.randn(num_classes, FGASegConfig().projection_dim, generator=torch.Generator().manual_seed(1))
        return torch.nn.functional.normalize(words, dim=-1).to(self.device, self.dtype)

    @staticmethod
    def input_ids(num_classes: int) -> torch.Tensor:
        """Random prompts that end as CLIP's do."""
        generator = torch.Generator().manual_seed(2)
        ids = torch.randint(1000, 40000, (num_classes, PROMPT_LENGTH), generator=generator)
        ids[:, 0], ids[:, -1] = 49406, 49407
        return ids

    @cached_property
    def tower(self) -> torch.nn.Module:
        """CLIP's image tower, as Transformers has it."""
        torch.manual_seed(0)
        config = CLIPVisionConfig(patch_size=16)
        return CLIPVisionModel(config).eval().to(self.device, self.dtype)

    @cached_property
    def fgaseg(self) -> FGASegForSemanticSegmentation:
        """FGASeg of the default configuration."""
        return self._segmenter(FGASegConfig())

    @cached_property
    def catseg(self) -> FGASegForSemanticSegmentation:
        """The CAT-Seg configuration."""
        return self._segmenter(FGASegConfig.catseg())

    @cached_property
    def clipseg(self) -> CLIPSegForImageSegmentation:
        """Transformers' CLIPSeg, of its own default size (ViT-B/32) with patches of 16 as released."""
        torch.manual_seed(0)
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()
        config = CLIPSegConfig(vision_config={"patch_size": 16})
        logging.set_verbosity(verbosity)
        return CLIPSegForImageSegmentation(config).eval().to(self.device, self.dtype)

    def _segmenter(self, config: FGASegConfig) -> FGASegForSemanticSegmentation:
        torch.manual_seed(0)
        return FGASegForSemanticSegmentation(config).eval().to(self.device, self.dtype)

    def tower_alone(
        self, wrap: Callable[[torch.nn.Module], Callable[..., object]] = lambda model: model
    ) -> Callable[[], object]:
        """The floor: the image tower on the same pictures."""
        tower, pixel_values = wrap(self.tower), self.pixel_values

        @torch.inference_mode()
        def run() -> object:
            return tower(pixel_values=pixel_values, interpolate_pos_encoding=True)

        return run

    def work(self, row: Row, wrap: Callable[[torch.nn.Module], Callable[..., object]] = lambda model: model):
        """The row as a callable.

        Args:
            row: What to run.
            wrap: Is given the model and returns what is called, such as `torch.compile`.
        """
        if row.model == "clipseg":
            return self._clipseg_work(row)
        model = self.fgaseg if row.model == "fgaseg" else self.catseg
        if row.training:
            return self._training_work(model, row)
        pixel_values, text_embeddings = self.pixel_values, self.text_embeddings(row.num_classes)
        called = wrap(model)

        @torch.inference_mode()
        def run() -> object:
            model.config.num_kept_classes, model.config.class_limit = row.num_kept_classes, row.class_limit
            model.eval()
            return called(pixel_values=pixel_values, text_embeddings=text_embeddings)

        return run

    def _clipseg_work(self, row: Row) -> Callable[[], object]:
        model = self.clipseg
        # CLIPSeg takes one picture a prompt.
        pixel_values = self.pixel_values[:1].expand(row.num_classes, -1, -1, -1)
        condition = torch.randn(
            row.num_classes, model.config.projection_dim, generator=torch.Generator().manual_seed(1)
        ).to(self.device, self.dtype)

        @torch.inference_mode()
        def run() -> object:
            return model(pixel_values=pixel_values, conditional_embeddings=condition, interpolate_pos_encoding=True)

        return run

    def _training_work(self, model: FGASegForSemanticSegmentation, row: Row) -> Callable[[], object]:
        generator = torch.Generator().manual_seed(3)
        input_ids = self.input_ids(row.num_classes).to(self.device)
        labels = torch.randint(0, row.num_classes, (self.batch_size, 24, 24), generator=generator)
        labels = labels.repeat_interleave(self.height // 24, 1).repeat_interleave(self.width // 24, 2).to(self.device)

        def run() -> object:
            model.config.num_kept_classes, model.config.class_limit = None, row.class_limit
            model.config.num_decoded_classes = row.num_decoded_classes
            model.train()
            if row.checkpointing:
                model.activation_checkpointing_enable()
            else:
                model.activation_checkpointing_disable()
            loss = model(pixel_values=self.pixel_values, input_ids=input_ids, labels=labels).loss
            loss.backward()
            value = loss.item()
            model.zero_grad(set_to_none=True)
            model.eval()
            return value

        return run
