# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 4: category supplementation. Two pseudo-masks a class, from the picture as a whole and from neighbourhoods."""

import torch
from torch import nn

from .class_selection import ClassSelection, highest_peaks
from .configuration_fgaseg import FGASegConfig
from .partwise_computation import apply_in_parts
from .pixel_text_alignment import convolve_with_class_kernels


def global_pseudo_masks(aligned_text_embeddings: torch.Tensor, patch_features: torch.Tensor) -> torch.Tensor:
    """Global category supplementation (GCS): cosine similarity of every word with every patch.

    Args:
        aligned_text_embeddings: (batch, classes, dim).
        patch_features: (batch, dim, height, width).

    Returns:
        Similarities between -1 and 1, (batch, classes, height, width).
    """
    text = nn.functional.normalize(aligned_text_embeddings, dim=-1)
    patches = nn.functional.normalize(patch_features, dim=1)
    return torch.matmul(text, patches.flatten(2)).unflatten(-1, patches.shape[-2:])


class FGASegLocalPseudoMasks(nn.Module):
    """Local category supplementation (LCS): each word becomes a small kernel that weighs a patch's neighbours."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.config = config
        self.kernel_size = config.local_kernel_size
        self.kernel_projection = nn.Linear(config.projection_dim, config.projection_dim * self.kernel_size**2 + 1)

    def forward(
        self,
        aligned_text_embeddings: torch.Tensor,
        patch_features: torch.Tensor,
        global_pseudo_masks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            aligned_text_embeddings: (batch, classes, dim).
            patch_features: (batch, dim, height, width).
            global_pseudo_masks: (batch, classes, height, width). If given, classes that the class limit drops by them
                are not computed.

        Returns:
            Raw similarities (batch, classes, height, width); classes that were dropped stand at the most negative
            finite score.
        """
        batch_size, num_classes = aligned_text_embeddings.shape[:2]
        limit = self.config.class_limit
        # In an exported program, whose number of classes is not known yet, all are computed.
        is_known = not isinstance(num_classes, torch.SymInt)
        if global_pseudo_masks is not None and limit is not None and is_known and num_classes > limit:
            selection = ClassSelection.of_all(batch_size, num_classes, patch_features.device)
            selection = selection.narrow(*highest_peaks(global_pseudo_masks, limit))
            return selection.scatter(self._of_all(selection.gather(aligned_text_embeddings), patch_features))
        return self._of_all(aligned_text_embeddings, patch_features)

    def _of_all(self, aligned_text_embeddings: torch.Tensor, patch_features: torch.Tensor) -> torch.Tensor:
        # Ten thousand words' kernels would be many times the size of all else.
        return apply_in_parts(
            self._slide_kernels,
            (nn.functional.normalize(aligned_text_embeddings, dim=-1),),
            (nn.functional.normalize(patch_features, dim=1),),
            dim=1,
            values_per_item=patch_features.shape[0] * patch_features.shape[1] * self.kernel_size**2,
        )

    def _slide_kernels(self, text_embeddings: torch.Tensor, patch_features: torch.Tensor) -> torch.Tensor:
        kernels = self.kernel_projection(text_embeddings)
        weights, biases = kernels[..., :-1], kernels[..., -1]
        # Each channel shares out one unit of weight over the neighbourhood.
        weights = weights.unflatten(-1, (-1, self.kernel_size**2)).softmax(dim=-1)
        weights = weights.unflatten(-1, (self.kernel_size, self.kernel_size))
        return convolve_with_class_kernels(patch_features, weights, biases)
