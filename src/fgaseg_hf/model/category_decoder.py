# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5: the category-aware decoder. Fuses the pseudo-masks, aggregates them, and brings them up with guidance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from .aggregation_layer import FGASegAggregationLayer
from .class_selection import ClassSelection, gather_classes, highest_peaks, select_classes
from .configuration_fgaseg import FGASegConfig
from .cost_embeddings import FGASegCostEmbedding, FGASegFusion
from .decoder_composition import compose
from .upsampling_stages import (
    FGASegGuidanceProjection,
    FGASegLocalUpsampling,
    FGASegMaskHead,
    FGASegUpsamplingStage,
)


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


class FGASegDecoderGuidance(NamedTuple):
    """What guides the decoder, computed once a picture.

    Attributes:
        appearance: (batch, height, width, channels), for spatial aggregation.
        text: (batch, classes, channels), for class aggregation.
        coarse: (batch, channels, 2 height, 2 width), for the first upsampling stage.
        fine: (batch, channels, 4 height, 4 width), for the second.
    """

    appearance: torch.Tensor
    text: torch.Tensor
    coarse: torch.Tensor
    fine: torch.Tensor


class FGASegCategoryDecoder(nn.Module):
    """Fusion, aggregation, two guided upsampling stages and the heads; TopK between them at inference.

    [`_decode`] says what is computed. Where nothing but the weights takes part, it is computed by a plan with fewer
    operations: the same numbers to rounding, see [`compose`].
    """

    # Transformers sets both.
    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable | None = None

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
        selection, (global_pseudo_masks, local_pseudo_masks, aligned_text_embeddings) = self._limit_classes(
            global_pseudo_masks, local_pseudo_masks, aligned_text_embeddings
        )
        guidance = FGASegDecoderGuidance(
            self.appearance_projection(patch_features).permute(0, 2, 3, 1),
            self.text_projection(nn.functional.normalize(aligned_text_embeddings, dim=-1)).relu(),
            self.guidance_projections[0](upsampling_guidance[0]),
            self.guidance_projections[1](upsampling_guidance[1]),
        )
        plan = compose(self) if type(self) is FGASegCategoryDecoder else None
        decode = self._decode if plan is None else plan.decode
        selection, maps = decode(selection, global_pseudo_masks, local_pseudo_masks, guidance)
        *scores, logits = (scores for scores in maps if scores is not None)
        return FGASegDecoderOutput(logits, tuple(scores), selection.indices)

    def _decode(
        self,
        selection: ClassSelection,
        global_pseudo_masks: torch.Tensor,
        local_pseudo_masks: torch.Tensor | None,
        guidance: FGASegDecoderGuidance,
    ) -> tuple[ClassSelection, list[torch.Tensor | None]]:
        """Block by block, as in the paper's figure. [`DecoderPlan`] computes the same in another order.

        Args:
            selection: The classes that the pseudo-masks are of.
            global_pseudo_masks: (batch, kept, height, width).
            local_pseudo_masks: The same, or `None`.
            guidance: What guides the way.

        Returns:
            The classes that went through to the end; the auxiliary heads' maps (or `None`) and the logits, each of all
            classes.
        """
        local, text_guidance = None, guidance.text

        # Embed and fuse. From here on, costs and local are (batch, kept, height, width, channels).
        costs = self.global_embedding(global_pseudo_masks)
        if local_pseudo_masks is not None:
            local = self.local_embedding(local_pseudo_masks)
            costs = self.fusions[0](costs, local)
        scores = self.score(0, costs)
        maps = [selection.scatter(scores)]
        ranking = global_pseudo_masks if scores is None else scores
        selection, (costs, local, text_guidance) = self.keep_best(0, ranking, selection, costs, local, text_guidance)

        # Aggregate over space and classes.
        for layer in self.aggregation_layers:
            costs = self._run(layer, costs, guidance.appearance, text_guidance, selection.is_kept)

        # Fuse again, and go up to 2 x and then 4 x the patch grid.
        if local is not None:
            costs = self.fusions[1](costs, local)
        scores = self.score(1, costs)
        maps.append(selection.scatter(scores))
        selection, (costs, local) = self.keep_best(1, scores, selection, costs, local)
        costs = self._run(self.upsampling_1, costs, guidance.coarse)
        if local is not None:
            costs = self.fusions[2](costs, self._run(self.local_upsampling, local))
        scores = self.score(2, costs)
        maps.append(selection.scatter(scores))
        selection, (costs,) = self.keep_best(2, scores, selection, costs)
        logits = self.head(self._run(self.upsampling_2, costs, guidance.fine))
        return selection, [*maps, selection.scatter(logits)]

    def first_scores(
        self, global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Auxiliary map 0 by itself, (batch, classes, height, width); `None` if there are no auxiliary heads.

        Args:
            global_pseudo_masks: (batch, classes, height, width).
            local_pseudo_masks: The same, or `None`.
        """
        plan = compose(self) if type(self) is FGASegCategoryDecoder else None
        if plan is not None and self.config.use_auxiliary_heads:
            return plan.first_scores([global_pseudo_masks, local_pseudo_masks])
        costs = self.global_embedding(global_pseudo_masks)
        if local_pseudo_masks is not None:
            costs = self.fusions[0](costs, self.local_embedding(local_pseudo_masks))
        return self.score(0, costs)

    def score(self, place: int, costs: torch.Tensor) -> torch.Tensor | None:
        """What the auxiliary head of a place says, (batch, kept, height, width); `None` if there are no such heads."""
        return self.auxiliary_heads[place](costs) if self.config.use_auxiliary_heads else None

    def keep_best(
        self, place: int, scores: torch.Tensor | None, selection: ClassSelection, *tensors: torch.Tensor | None
    ) -> tuple[ClassSelection, tuple[Any, ...]]:
        """TopK at inference: narrows the selection, and each tensor with it, to the classes that score best.

        Args:
            place: After which of the auxiliary heads. Only the released rule narrows again after the second and third.
            scores: (batch, kept, height, width), or `None`: all are kept.
            selection: The classes before.
            tensors: (batch, kept, ...) each, or `None`.
        """
        config = self.config
        count = (
            None if self.training or (place > 0 and config.class_selection_rule != "union") else config.num_kept_classes
        )
        if count is None or scores is None:
            return selection, tensors
        places, is_kept = select_classes(scores, count, config.class_selection_rule, selection.is_kept)
        kept = tuple(None if tensor is None else gather_classes(tensor, places) for tensor in tensors)
        return selection.narrow(places, is_kept), kept

    @property
    def checkpoint(self) -> Callable[..., Any] | None:
        """Gradient checkpointing, where it is switched on: called with a function and its inputs."""
        return self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None

    def _run(self, block: nn.Module, *inputs: torch.Tensor | None) -> torch.Tensor:
        """Calls a block whose activations are worth computing again."""
        return block(*inputs) if self.checkpoint is None else self.checkpoint(block, *inputs)

    def _limit_classes(
        self,
        global_pseudo_masks: torch.Tensor,
        local_pseudo_masks: torch.Tensor | None,
        aligned_text_embeddings: torch.Tensor,
    ) -> tuple[ClassSelection, tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]:
        """Of more classes than `config.class_limit`, those whose global maps peak highest."""
        batch_size, num_classes = global_pseudo_masks.shape[:2]
        selection = ClassSelection.of_all(batch_size, num_classes, global_pseudo_masks.device)
        limit = self.config.class_limit
        # Where the number of classes is not known yet, all of them may be kept.
        if limit is None or not (isinstance(num_classes, torch.SymInt) or num_classes > limit):
            return selection, (global_pseudo_masks, local_pseudo_masks, aligned_text_embeddings)
        selection = selection.narrow(*highest_peaks(global_pseudo_masks, limit))
        local = None if local_pseudo_masks is None else selection.gather(local_pseudo_masks)
        return selection, (selection.gather(global_pseudo_masks), local, selection.gather(aligned_text_embeddings))
