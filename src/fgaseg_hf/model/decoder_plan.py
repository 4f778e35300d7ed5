# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How the decoder is computed fast.

What is linear is put together (embeddings with fusions and heads, upsampling with convolutions), what classes share is
computed once a picture, and classes go through a few at a time.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import nn

from .aggregation_composition import WindowGrids, aggregate
from .aggregation_layer import FGASegAggregationLayer
from .class_selection import ClassSelection
from .cost_embeddings import FGASegFusion, costs_to_maps, maps_to_costs
from .device_sizes import sizes_of
from .linear_composition import (
    compose_embedding_and_raising,
    compose_embeddings_and_fusion,
    compose_upsampling,
    convolve_few_channels,
    embed_and_raise,
    sum_of_tap_maps,
    sum_of_taps,
)
from .partwise_computation import apply_in_parts
from .upsampling_stages import FGASegGuidedConvolutions, FGASegMaskHead, FGASegUpsamplingStage, add_to_every_class

if TYPE_CHECKING:
    from .category_decoder import FGASegCategoryDecoder, FGASegDecoderGuidance


class _SharedWeights(NamedTuple):
    """What all classes share on their way up, computed once a picture.

    Attributes:
        map_1: What the guidance adds to every class in the first stage, (batch, channels, 2 height, 2 width).
        kernel_1: Upsampling and first convolution of the first stage as one, (channels before, channels after, 4, 4).
        map_2: The same of the second stage.
        kernel_2: Likewise.
        fusion_weight: The share of the costs in the second fusion, (channels, channels), or `None`: they are added to.
        fusion_kernel: Local embedding and its share of the second fusion, (channels, 1, 7, 7); `None`: no local masks.
        fusion_bias: (channels,).
        local_weight: Local embedding, upsampling and first convolution as one, of [`compose_embedding_and_raising`]; on
            accelerators without the embedding, of [`compose_upsampling`].
        local_bias: Of the same.
    """

    map_1: torch.Tensor
    kernel_1: torch.Tensor
    map_2: torch.Tensor
    kernel_2: torch.Tensor
    fusion_weight: torch.Tensor | None = None
    fusion_kernel: torch.Tensor | None = None
    fusion_bias: torch.Tensor | None = None
    local_weight: torch.Tensor | None = None
    local_bias: torch.Tensor | None = None


class DecoderPlan:
    """Computes what [`FGASegCategoryDecoder`] says, with fewer operations.

    Args:
        decoder: A decoder whose modules nobody watches; see [`compose`].
    """

    def __init__(self, decoder: "FGASegCategoryDecoder") -> None:
        self.decoder = decoder
        self.config = decoder.config
        embeddings = [decoder.global_embedding.convolution]
        fusion = None
        if self.config.use_local_pseudo_masks:
            embeddings.append(decoder.local_embedding.convolution)
            fusion = cast(FGASegFusion, decoder.fusions[0]).linear
        self.embedding = compose_embeddings_and_fusion(embeddings, fusion)

    def decode(
        self,
        selection: ClassSelection,
        global_pseudo_masks: torch.Tensor,
        local_pseudo_masks: torch.Tensor | None,
        guidance: "FGASegDecoderGuidance",
    ) -> tuple[ClassSelection, list[torch.Tensor | None]]:
        """See [`FGASegCategoryDecoder._decode`]."""
        decoder, config = self.decoder, self.config
        sizes = sizes_of(global_pseudo_masks.device)

        # Score by the first auxiliary head and drop classes before they are embedded.
        masks = [global_pseudo_masks, local_pseudo_masks]
        scores = self.first_scores(masks) if config.use_auxiliary_heads else None
        maps = [selection.scatter(scores)]
        ranking = global_pseudo_masks if scores is None else scores
        selection, kept = decoder.keep_best(0, ranking, selection, *masks, guidance.text)
        *masks, text_guidance = kept

        costs = self._embed(masks)
        grids = WindowGrids(costs, config.window_size)
        for layer in cast(Iterable[FGASegAggregationLayer], decoder.aggregation_layers):
            costs = aggregate(
                layer,
                costs,
                guidance.appearance,
                text_guidance,
                selection.is_kept,
                grids=grids,
                sizes=sizes,
                checkpoint=decoder.checkpoint,
            )

        # Up to 4 x the patch grid, class by class. What lies between the stages is large, so each class goes through
        # all of them in one run, unless TopK may drop classes in between.
        stages = (self._fuse_again, self._upsample, self._upsample_and_classify)
        is_narrowed = config.class_selection_rule == "union" and not decoder.training and config.num_kept_classes
        runs = [(stage,) for stage in stages] if is_narrowed else [stages]
        shared = self._share(guidance)
        dim, (dim_1, dim_2) = config.decoder_hidden_dim, config.decoder_dims
        values = max(2 * dim, 4 * 2 * dim_1, 16 * dim_2)
        local_pseudo_masks = masks[1]
        for place, run in enumerate(runs, start=1):
            costs, *found = self._by_class(partial(_run_stages, run), (costs, local_pseudo_masks), shared, values)
            maps += [selection.scatter(scores) for scores in found]
            if costs is not None:
                selection, (costs, local_pseudo_masks) = decoder.keep_best(
                    place, found[-1], selection, costs, local_pseudo_masks
                )
        return selection, maps

    def _by_class(
        self,
        function: Callable[..., Any],
        by_class: Sequence[torch.Tensor | None],
        shared: Sequence[torch.Tensor | None],
        values_per_position: int,
    ) -> Any:
        """Applies a function of each class by itself, a few classes at a time."""
        batch_size, _, height, width = next(tensor for tensor in by_class if tensor is not None).shape[:4]
        return apply_in_parts(
            function,
            by_class,
            shared,
            dim=1,
            values_per_item=batch_size * height * width * values_per_position,
            checkpoint=self.decoder.checkpoint,
        )

    def _embed(self, masks: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Embeds both pseudo-masks and fuses them for the first time."""
        return self._by_class(_embed_masks, masks, self.embedding, self.config.decoder_hidden_dim)

    def first_scores(self, masks: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Computes auxiliary map 0 without the embeddings that it is defined on.

        Embedding, fusion and head are linear, so together they are a convolution with a map for each of the head's
        taps, and the sum of these maps, each moved to where its tap looks. Beyond the edge the head sees zeros.
        """
        head = cast(FGASegMaskHead, self.decoder.auxiliary_heads[0]).convolution
        taps = head.weight[0].flatten(1).T
        if sizes_of(taps.device).folds_taps:
            taps = taps.flip(0)
        kernel, bias = self.embedding
        return self._by_class(
            _score_masks,
            masks,
            (torch.einsum("tc,cnyx->tnyx", taps, kernel), (taps * bias).sum(dim=1), cast(torch.Tensor, head.bias)),
            len(taps),
        )

    def _share(self, guidance: "FGASegDecoderGuidance") -> _SharedWeights:
        """Computes once a picture what the way up needs for each class."""
        decoder = self.decoder
        map_1, kernel_1 = _share_stage(decoder.upsampling_1, guidance.coarse)
        map_2, kernel_2 = _share_stage(decoder.upsampling_2, guidance.fine)
        if not self.config.use_local_pseudo_masks:
            return _SharedWeights(map_1, kernel_1, map_2, kernel_2)
        embedding, linear = decoder.local_embedding.convolution, cast(FGASegFusion, decoder.fusions[1]).linear
        kernel, bias, weight = embedding.weight, cast(torch.Tensor, embedding.bias), None
        if linear is not None:
            weight, share = linear.weight.chunk(2, dim=1)
            kernel = torch.einsum("oc,cnyx->onyx", share, kernel)
            bias = linear.bias + (share * bias).sum(dim=1)
        local = decoder.local_upsampling
        if sizes_of(kernel.device).multiplies_patches:
            raising = compose_embedding_and_raising(embedding, local.upsampling, local.convolutions.convolution_1)
        else:
            size = guidance.coarse.shape[-2:]
            raising = compose_upsampling(local.upsampling, local.convolutions.convolution_1, *size)
        return _SharedWeights(map_1, kernel_1, map_2, kernel_2, weight, kernel, bias, raising[0], raising[1])

    def _fuse_again(
        self, costs: torch.Tensor, local_pseudo_masks: torch.Tensor | None, shared: _SharedWeights
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """At the patch grid, with the local embedding."""
        if local_pseudo_masks is not None:
            costs = _fuse_with_masks(costs, local_pseudo_masks, shared)
        return costs, self._score(1, costs)

    def _upsample(
        self, costs: torch.Tensor, local_pseudo_masks: torch.Tensor | None, shared: _SharedWeights
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Up to 2 x the patch grid, with the local embedding fused in there."""
        costs = _raise_costs(self.decoder.upsampling_1, costs, shared.map_1, shared.kernel_1)
        if local_pseudo_masks is not None:
            costs = self.decoder.fusions[2](costs, self._raise_masks(local_pseudo_masks, shared))
        return costs, self._score(2, costs)

    def _raise_masks(self, local_pseudo_masks: torch.Tensor, shared: _SharedWeights) -> torch.Tensor:
        """The local embedding at 2 x the patch grid."""
        assert shared.local_weight is not None and shared.local_bias is not None
        if sizes_of(local_pseudo_masks.device).multiplies_patches:
            maps = embed_and_raise(local_pseudo_masks.flatten(0, 1), shared.local_weight, shared.local_bias)
        else:
            maps = costs_to_maps(self.decoder.local_embedding(local_pseudo_masks))
            maps = nn.functional.conv_transpose2d(maps, shared.local_weight, stride=2, padding=1) + shared.local_bias
        maps = _finish_convolutions(self.decoder.local_upsampling.convolutions, maps)
        return maps_to_costs(maps, local_pseudo_masks.shape[0])

    def _upsample_and_classify(
        self, costs: torch.Tensor, local_pseudo_masks: torch.Tensor | None, shared: _SharedWeights
    ) -> tuple[None, torch.Tensor]:
        """Up to 4 x the patch grid."""
        costs = _raise_costs(self.decoder.upsampling_2, costs, shared.map_2, shared.kernel_2)
        return None, _classify(self.decoder.head, costs)

    def _score(self, place: int, costs: torch.Tensor) -> torch.Tensor | None:
        if not self.config.use_auxiliary_heads:
            return None
        return _classify(cast(FGASegMaskHead, self.decoder.auxiliary_heads[place]), costs)


def _run_stages(
    stages: Sequence[Callable[..., tuple[torch.Tensor | None, torch.Tensor | None]]],
    costs: torch.Tensor | None,
    local_pseudo_masks: torch.Tensor | None,
    *shared: Any,
) -> tuple[torch.Tensor | None, ...]:
    """Runs stages one after another; returns what the last one leaves, and the scores of each."""
    scores = []
    for stage in stages:
        costs, stage_scores = stage(costs, local_pseudo_masks, _SharedWeights(*shared))
        scores.append(stage_scores)
    return costs, *scores


def _embed_masks(
    global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None, kernel: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Embeds the pseudo-masks (batch, classes, height, width) of each class by one convolution, as costs."""
    masks = _stack_masks(global_pseudo_masks, local_pseudo_masks)
    if sizes_of(masks.device).multiplies_patches:
        costs = convolve_few_channels(masks, kernel, bias)
    else:
        maps = nn.functional.conv2d(masks, kernel, bias, padding=kernel.shape[-1] // 2)
        costs = maps.permute(0, 2, 3, 1).contiguous()
    return costs.unflatten(0, global_pseudo_masks.shape[:2])


def _fuse_with_masks(costs: torch.Tensor, local_pseudo_masks: torch.Tensor, shared: _SharedWeights) -> torch.Tensor:
    """The second fusion, of costs with the local pseudo-masks that are embedded in the same step."""
    assert shared.fusion_kernel is not None and shared.fusion_bias is not None
    if shared.fusion_weight is not None:
        costs = nn.functional.linear(costs, shared.fusion_weight)
    return costs + _embed_masks(local_pseudo_masks, None, shared.fusion_kernel, shared.fusion_bias)


def _score_masks(
    global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None, *weights: torch.Tensor
) -> torch.Tensor:
    """Scores the pseudo-masks (batch, classes, height, width) of each class, see [`sum_of_tap_maps`]."""
    masks = _stack_masks(global_pseudo_masks, local_pseudo_masks)
    scores = sum_of_tap_maps(masks, *weights, folds=sizes_of(masks.device).folds_taps)
    return scores.unflatten(0, global_pseudo_masks.shape[:2])


def _stack_masks(global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None) -> torch.Tensor:
    """(batch, classes, height, width), once or twice -> (batch * classes, 1 or 2, height, width)."""
    masks = [masks.flatten(0, 1) for masks in (global_pseudo_masks, local_pseudo_masks) if masks is not None]
    return torch.stack(masks, dim=1)


def _share_stage(stage: FGASegUpsamplingStage, guidance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The map that an upsampling stage adds to every class, and its upsampling and first convolution as one kernel."""
    convolutions = stage.convolutions
    shared = cast(nn.Conv2d, convolutions.guidance_convolution)(guidance)
    kernel, bias = compose_upsampling(stage.upsampling, convolutions.convolution_1, *guidance.shape[-2:])
    # In the memory format of the maps, which adding does several times as fast.
    return (shared + bias).contiguous(memory_format=torch.channels_last), kernel


def _raise_costs(
    stage: FGASegUpsamplingStage, costs: torch.Tensor, shared: torch.Tensor, kernel: torch.Tensor
) -> torch.Tensor:
    """What an upsampling stage makes of its costs."""
    maps = nn.functional.conv_transpose2d(costs_to_maps(costs), kernel, stride=2, padding=1)
    return maps_to_costs(_finish_convolutions(stage.convolutions, add_to_every_class(maps, shared)), costs.shape[0])


def _finish_convolutions(convolutions: FGASegGuidedConvolutions, maps: torch.Tensor) -> torch.Tensor:
    """What follows the first convolution and its guidance."""
    maps = convolutions.norm_1(maps).relu_()
    return convolutions.norm_2(convolutions.convolution_2(maps)).relu_()


def _classify(head: FGASegMaskHead, costs: torch.Tensor) -> torch.Tensor:
    """What a head makes of its costs; half precision would round each tap's product."""
    if not sizes_of(costs.device).sums_taps or costs.dtype not in (torch.float32, torch.float64):
        return head(costs)
    convolution = head.convolution
    return sum_of_taps(costs.flatten(0, 1), convolution.weight, cast(torch.Tensor, convolution.bias)).unflatten(
        0, costs.shape[:2]
    )
