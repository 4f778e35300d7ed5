"""Step 4: category supplementation. Two pseudo-masks a class, from the picture as a whole and from neighbourhoods."""

import torch
from torch import nn

from .configuration_fgaseg import FGASegConfig
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
        self.kernel_size = config.local_kernel_size
        self.kernel_projection = nn.Linear(config.projection_dim, config.projection_dim * self.kernel_size**2 + 1)

    def forward(self, aligned_text_embeddings: torch.Tensor, patch_features: torch.Tensor) -> torch.Tensor:
        """
        Args:
            aligned_text_embeddings: (batch, classes, dim).
            patch_features: (batch, dim, height, width).

        Returns:
            Raw similarities (batch, classes, height, width).
        """
        kernels = self.kernel_projection(nn.functional.normalize(aligned_text_embeddings, dim=-1))
        weights, biases = kernels[..., :-1], kernels[..., -1]
        # Each channel shares out one unit of weight over the neighbourhood.
        weights = weights.unflatten(-1, (-1, self.kernel_size**2)).softmax(dim=-1)
        weights = weights.unflatten(-1, (self.kernel_size, self.kernel_size))
        return convolve_with_class_kernels(nn.functional.normalize(patch_features, dim=1), weights, biases)
