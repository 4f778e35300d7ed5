"""Step 5: the category-aware decoder. Fuses the pseudo-masks, aggregates them, and brings them up with guidance."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .class_selection import ClassSelection, gather_classes, highest_peaks, select_classes
from .configuration_fgaseg import FGASegConfig
from .cost_aggregation import FGASegAggregationLayer, costs_to_maps, maps_to_costs


@dataclass
class FGASegDecoderOutput:
    """What the decoder computes.

    Attributes:
        logits: (batch, classes, 4 height, 4 width); dropped classes at the most negative finite score.
        auxiliary_logits: Three maps at 1 x, 1 x and 2 x the patch grid in the same form, or none.
        kept_classes: (batch, kept) places of the classes that went through to the end.
    """

    logits: torch.Tensor
    auxiliary_logits: tuple[torch.Tensor, ...]
    kept_classes: torch.Tensor


class FGASegCostEmbedding(nn.Module):
    """Embeds a pseudo-mask: the similarities around a patch become its cost embedding."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, config.decoder_hidden_dim, kernel_size=7, padding=3)

    def forward(self, pseudo_masks: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width) -> (batch, classes, height, width, channels)."""
        maps = self.convolution(pseudo_masks.flatten(0, 1).unsqueeze(1))
        return maps_to_costs(maps, pseudo_masks.shape[0]).contiguous()


class FGASegFusion(nn.Module):
    """Fuses the embedding on its way with the local one, by a linear layer on both (`cat`) or by their sum (`add`)."""

    def __init__(self, in_dim: int, local_dim: int, out_dim: int, mode: Literal["cat", "add"]) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim + local_dim, out_dim) if mode == "cat" else None

    def forward(self, cost_embeddings: torch.Tensor, local_embeddings: torch.Tensor) -> torch.Tensor:
        """(..., in_dim) and (..., local_dim) -> (..., out_dim)."""
        if self.linear is None:
            return cost_embeddings + local_embeddings
        return self.linear(torch.cat((cost_embeddings, local_embeddings), dim=-1))


class FGASegGuidanceProjection(nn.Module):
    """A convolution with ReLU that narrows guidance maps."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_dim, out_dim, kernel_size=3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, in_dim, height, width) -> (batch, out_dim, height, width)."""
        return self.convolution(maps).relu()


class FGASegGuidedConvolutions(nn.Module):
    """Twice convolution, group normalisation, ReLU.

    The first convolution sees the cost embedding and the guidance side by side. The guidance is the same for every
    class, so it is convolved once a picture and added.
    """

    def __init__(self, in_dim: int, guidance_dim: int, out_dim: int) -> None:
        super().__init__()
        self.convolution_1 = nn.Conv2d(in_dim, out_dim, kernel_size=3, padding=1, bias=False)
        self.guidance_convolution = (
            nn.Conv2d(guidance_dim, out_dim, kernel_size=3, padding=1, bias=False) if guidance_dim else None
        )
        self.norm_1 = nn.GroupNorm(out_dim // 16, out_dim)
        self.convolution_2 = nn.Conv2d(out_dim, out_dim, kernel_size=3, padding=1, bias=False)
        self.norm_2 = nn.GroupNorm(out_dim // 16, out_dim)

    def forward(self, maps: torch.Tensor, guidance: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            maps: (batch * classes, in_dim, height, width).
            guidance: (batch, guidance_dim, height, width), if the module has guidance.
        """
        maps = self.convolution_1(maps)
        if self.guidance_convolution is not None:
            guided = self.guidance_convolution(guidance).unsqueeze(1)
            maps = (maps.unflatten(0, (guided.shape[0], -1)) + guided).flatten(0, 1)
        maps = self.norm_1(maps).relu()
        return self.norm_2(self.convolution_2(maps)).relu()


class FGASegUpsamplingStage(GradientCheckpointingLayer):
    """Doubles the resolution and brings in guidance of that resolution."""

    def __init__(self, in_dim: int, guidance_dim: int, out_dim: int) -> None:
        super().__init__()
        self.upsampling = nn.ConvTranspose2d(in_dim, in_dim - guidance_dim, kernel_size=2, stride=2)
        self.convolutions = FGASegGuidedConvolutions(in_dim - guidance_dim, guidance_dim, out_dim)

    def forward(self, cost_embeddings: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, in_dim).
            guidance: (batch, guidance_dim, 2 height, 2 width).

        Returns:
            (batch, classes, 2 height, 2 width, out_dim).
        """
        maps = self.upsampling(costs_to_maps(cost_embeddings))
        return maps_to_costs(self.convolutions(maps, guidance), cost_embeddings.shape[0])


class FGASegLocalUpsampling(GradientCheckpointingLayer):
    """Brings the local embedding to the resolution of the second upsampling stage, without guidance."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        dim = config.decoder_dims[0]
        self.upsampling = nn.ConvTranspose2d(config.decoder_hidden_dim, dim, kernel_size=2, stride=2)
        self.convolutions = FGASegGuidedConvolutions(dim, 0, dim)

    def forward(self, local_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width, channels) -> (batch, classes, 2 height, 2 width, decoder_dims[0])."""
        maps = self.convolutions(self.upsampling(costs_to_maps(local_embeddings)))
        return maps_to_costs(maps, local_embeddings.shape[0])


class FGASegMaskHead(nn.Module):
    """One logit a class and position."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_dim, 1, kernel_size=3, padding=1)

    def forward(self, cost_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width, channels) -> (batch, classes, height, width)."""
        maps = self.convolution(costs_to_maps(cost_embeddings)).squeeze(1)
        return maps.unflatten(0, (cost_embeddings.shape[0], -1))


class FGASegCategoryDecoder(nn.Module):
    """Fusion, aggregation, two guided upsampling stages and the heads; TopK between them at inference."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.config = config
        dim, (dim_1, dim_2) = config.decoder_hidden_dim, config.decoder_dims
        guidance_dims, projected_dims = config.upsampling_guidance_dims, config.projected_guidance_dims
        self.appearance_projection = FGASegGuidanceProjection(config.projection_dim, config.appearance_guidance_dim)
        self.text_projection = nn.Linear(config.projection_dim, config.text_guidance_dim)
        self.guidance_projections = nn.ModuleList(
            [FGASegGuidanceProjection(*dims) for dims in zip(guidance_dims, projected_dims, strict=True)]
        )
        self.global_embedding = FGASegCostEmbedding(config)
        self.aggregation_layers = nn.ModuleList(
            [FGASegAggregationLayer(config) for _ in range(config.num_aggregation_layers)]
        )
        self.upsampling_1 = FGASegUpsamplingStage(dim, projected_dims[0], dim_1)
        self.upsampling_2 = FGASegUpsamplingStage(dim_1, projected_dims[1], dim_2)
        self.head = FGASegMaskHead(dim_2)
        if config.use_local_pseudo_masks:
            self.local_embedding = FGASegCostEmbedding(config)
            self.local_upsampling = FGASegLocalUpsampling(config)
            self.fusions = nn.ModuleList(
                [
                    FGASegFusion(dim, dim, dim, config.fusion),
                    FGASegFusion(dim, dim, dim, config.fusion),
                    FGASegFusion(dim_1, dim_1, dim_1, config.fusion),
                ]
            )
        if config.use_auxiliary_heads:
            self.auxiliary_heads = nn.ModuleList([FGASegMaskHead(dim), FGASegMaskHead(dim), FGASegMaskHead(dim_1)])

    def forward(
        self,
        global_pseudo_masks: torch.Tensor,
        local_pseudo_masks: torch.Tensor | None,
        aligned_text_embeddings: torch.Tensor,
        patch_features: torch.Tensor,
        upsampling_guidance: tuple[torch.Tensor, torch.Tensor],
    ) -> FGASegDecoderOutput:
        """
        Args:
            global_pseudo_masks: (batch, classes, height, width).
            local_pseudo_masks: The same, or `None` if they are switched off.
            aligned_text_embeddings: (batch, classes, dim).
            patch_features: (batch, dim, height, width).
            upsampling_guidance: Maps at 2 x and at 4 x the patch grid.
        """
        # step 1: the class limit
        batch_size, num_classes = global_pseudo_masks.shape[:2]
        selection = ClassSelection.of_all(batch_size, num_classes, global_pseudo_masks.device)
        if self.config.class_limit is not None and num_classes > self.config.class_limit:
            places, _ = highest_peaks(global_pseudo_masks, self.config.class_limit)
            selection = selection.narrow(places, None)
            global_pseudo_masks = selection.gather(global_pseudo_masks)
            aligned_text_embeddings = selection.gather(aligned_text_embeddings)
            local_pseudo_masks = None if local_pseudo_masks is None else selection.gather(local_pseudo_masks)

        # step 2: guidance, once a picture
        appearance_guidance = self.appearance_projection(patch_features).permute(0, 2, 3, 1)
        text_guidance = self.text_projection(nn.functional.normalize(aligned_text_embeddings, dim=-1)).relu()
        guidance_1, guidance_2 = (
            projection(maps) for projection, maps in zip(self.guidance_projections, upsampling_guidance, strict=True)
        )

        # step 3: embed and fuse; TopK before anything costly
        costs = self.global_embedding(global_pseudo_masks)
        local = None if local_pseudo_masks is None else self.local_embedding(local_pseudo_masks)
        costs = self._fuse(0, costs, local)
        scores_0 = self._score(0, costs)
        auxiliary_logits = self._all_classes(scores_0, selection)
        if scores_0 is None:
            scores_0 = global_pseudo_masks
        selection, (costs, local, text_guidance) = self._keep_best(scores_0, selection, costs, local, text_guidance)

        # step 4: aggregate over space and classes
        for layer in self.aggregation_layers:
            costs = layer(costs, appearance_guidance, text_guidance, selection.is_kept)

        # step 5: up to 2 x the patch grid
        costs = self._fuse(1, costs, local)
        scores_1 = self._score(1, costs)
        auxiliary_logits += self._all_classes(scores_1, selection)
        if self.config.class_selection_rule == "union":
            selection, (costs, local) = self._keep_best(scores_1, selection, costs, local)
        costs = self.upsampling_1(costs, guidance_1)
        local = None if local is None else self.local_upsampling(local)

        # step 6: up to 4 x the patch grid
        costs = self._fuse(2, costs, local)
        scores_2 = self._score(2, costs)
        auxiliary_logits += self._all_classes(scores_2, selection)
        if self.config.class_selection_rule == "union":
            selection, (costs,) = self._keep_best(scores_2, selection, costs)
        costs = self.upsampling_2(costs, guidance_2)

        return FGASegDecoderOutput(selection.scatter(self.head(costs)), auxiliary_logits, selection.indices)

    def _fuse(self, place: int, costs: torch.Tensor, local: torch.Tensor | None) -> torch.Tensor:
        return costs if local is None else self.fusions[place](costs, local)

    def _score(self, place: int, costs: torch.Tensor) -> torch.Tensor | None:
        return self.auxiliary_heads[place](costs) if self.config.use_auxiliary_heads else None

    @staticmethod
    def _all_classes(scores: torch.Tensor | None, selection: ClassSelection) -> tuple[torch.Tensor, ...]:
        return () if scores is None else (selection.scatter(scores),)

    def _keep_best(
        self, scores: torch.Tensor | None, selection: ClassSelection, *tensors: torch.Tensor | None
    ) -> tuple[ClassSelection, tuple[torch.Tensor | None, ...]]:
        """TopK at inference: narrows the selection, and each tensor with it, to the classes that score best."""
        count = self.config.num_kept_classes
        if self.training or count is None or scores is None:
            return selection, tensors
        places, is_kept = select_classes(scores, count, self.config.class_selection_rule, selection.is_kept)
        kept = tuple(None if tensor is None else gather_classes(tensor, places) for tensor in tensors)
        return selection.narrow(places, is_kept), kept
