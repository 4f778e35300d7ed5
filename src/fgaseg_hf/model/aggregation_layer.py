# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5: one layer of aggregation, over space and then over classes."""

import torch
from torch import nn

from .class_aggregation import FGASegClassAggregation
from .configuration_fgaseg import FGASegConfig
from .spatial_aggregation import FGASegSpatialAggregation


class FGASegAggregationLayer(nn.Module):
    """Spatial, then class aggregation."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.spatial_aggregation = FGASegSpatialAggregation(config)
        self.class_aggregation = FGASegClassAggregation(config)

    def forward(
        self,
        cost_embeddings: torch.Tensor,
        appearance_guidance: torch.Tensor,
        text_guidance: torch.Tensor,
        is_kept: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See [`FGASegSpatialAggregation`] and [`FGASegClassAggregation`]."""
        cost_embeddings = self.spatial_aggregation(cost_embeddings, appearance_guidance)
        return self.class_aggregation(cost_embeddings, text_guidance, is_kept)
