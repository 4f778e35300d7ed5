# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What exported programs compute: the whole model, its text tower, or its halves before and after the words."""

import torch
from torch import nn

from ..model.configuration_fgaseg import FGASegConfig
from ..model.model_outputs import FGASegImageFeatures
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation


class SegmentationProgram(nn.Module):
    """What an exported model computes: pictures and text embeddings in, logits out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor, text_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) and (classes, dim) -> (batch, classes, 4 rows, 4 columns)."""
        return self.model(pixel_values=pixel_values, text_embeddings=text_embeddings).logits


class TextProgram(nn.Module):
    """What an exported text tower computes: class prompts in, text embeddings out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(prompts, length) -> (prompts, dim), of unit length."""
        return self.model.get_text_embeddings(input_ids)


class PictureProgram(nn.Module):
    """The half of a model that needs no words: pictures in, what words are asked of out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(batch, 3, height, width) -> the tensors that [`feature_names`] names, in this order."""
        features = self.model.get_image_features(pixel_values)
        tensors = [features.patch_features, *(features.upsampling_guidance or ())]
        if features.patch_affinity is not None:
            # An axis each for rows and columns: a program can be told how these grow with the picture.
            grid = features.patch_features.shape[-2:]
            tensors.append(features.patch_affinity.unflatten(2, grid).unflatten(1, grid))
        return tuple(tensors)


class WordsProgram(nn.Module):
    """The other half of a model: what [`PictureProgram`] gave and text embeddings in, logits out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        text_embeddings: torch.Tensor,
        patch_features: torch.Tensor,
        guidance_coarse: torch.Tensor | None = None,
        guidance_fine: torch.Tensor | None = None,
        patch_affinity: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(classes, dim) and the picture's tensors -> logits (batch, classes, height, width)."""
        guidance = None if guidance_coarse is None or guidance_fine is None else (guidance_coarse, guidance_fine)
        affinity = None if patch_affinity is None else patch_affinity.flatten(3, 4).flatten(1, 2)
        features = FGASegImageFeatures(
            patch_features=patch_features, upsampling_guidance=guidance, patch_affinity=affinity
        )
        return self.model(image_features=features, text_embeddings=text_embeddings).logits


def feature_names(config: FGASegConfig) -> list[str]:
    """Names of the tensors that go from the picture's program to the words', in their order.

    `patch_features` (batch, dim, rows, columns) always; `guidance_coarse` and `guidance_fine`, at twice and four times
    the patch grid, where there is a category-aware decoder; `patch_affinity` (batch, rows, columns, rows, columns)
    where the configuration smooths by it.

    Args:
        config: The model's configuration.
    """
    guidance = ["guidance_coarse", "guidance_fine"] if config.decoder_type == "category" else []
    return ["patch_features", *guidance, *([] if config.affinity_layer is None else ["patch_affinity"])]


def check_exportable(config: FGASegConfig) -> None:
    """Refuses what no program without branches can compute.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If how many classes are kept depends on the picture (TopK by the rule `"union"`).
    """
    if config.num_kept_classes is not None and config.class_selection_rule == "union":
        raise ValueError(
            "TopK by the rule 'union' keeps another number of classes for each picture, which cannot be exported: set "
            "`class_selection_rule` to 'peak', or `num_kept_classes` to None."
        )


__all__ = ["PictureProgram", "SegmentationProgram", "TextProgram", "WordsProgram", "check_exportable", "feature_names"]
