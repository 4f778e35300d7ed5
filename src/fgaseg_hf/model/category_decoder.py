# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5: the category-aware decoder. Fuses the pseudo-masks, aggregates them, and brings them up with guidance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import nn

from .class_selection import ClassSelection, gather_classes, highest_peaks, select_classes
from .configuration_fgaseg import FGASegConfig
from .cost_aggregation import FGASegAggregationLayer, costs_to_maps, is_watched, maps_to_costs
from .linear_composition import (
    compose_embedding_and_raising,
    compose_upsampling,
    convolve_few_channels,
    embed_and_raise,
    is_plain,
)
from .partwise_computation import apply_in_parts


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


class FGASegSharedMaps(NamedTuple):
    """What all classes share on their way up, computed once a picture.

    Attributes:
        map_1: Of [`FGASegUpsamplingStage.share`], for the first stage.
        kernel_1: Of the same.
        map_2: For the second stage.
        kernel_2: Of the same.
        fusion_kernel: Local embedding and its share of the second fusion, (channels, 1, 7, 7); `None`: to be called.
        fusion_bias: (channels,).
        local_weight: Of [`FGASegLocalUpsampling.compose`]; `None`: to be called.
        local_bias: Of the same.
    """

    map_1: torch.Tensor
    kernel_1: torch.Tensor | None
    map_2: torch.Tensor
    kernel_2: torch.Tensor | None
    fusion_kernel: torch.Tensor | None
    fusion_bias: torch.Tensor | None
    local_weight: torch.Tensor | None
    local_bias: torch.Tensor | None


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

    def convolve_guidance(self, guidance: torch.Tensor) -> torch.Tensor:
        """(batch, guidance_dim, height, width) -> (batch, out_dim, height, width): what `forward` adds."""
        return cast(nn.Conv2d, self.guidance_convolution)(guidance)

    def forward(self, maps: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            maps: (batch * classes, in_dim, height, width).
            shared: What `convolve_guidance` returned, if the module has guidance.

        Returns:
            (batch * classes, out_dim, height, width).
        """
        return self.finish(self.convolution_1(maps), shared)

    def finish(self, maps: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        """What follows the first convolution; `shared` is added to every class's map."""
        if shared is not None:
            maps = (maps.unflatten(0, (shared.shape[0], -1)) + shared.unsqueeze(1)).flatten(0, 1)
        maps = self.norm_1(maps).relu_()
        return self.norm_2(self.convolution_2(maps)).relu_()


class FGASegUpsamplingStage(nn.Module):
    """Doubles the resolution and brings in guidance of that resolution."""

    def __init__(self, in_dim: int, guidance_dim: int, out_dim: int) -> None:
        super().__init__()
        self.upsampling = nn.ConvTranspose2d(in_dim, in_dim - guidance_dim, kernel_size=2, stride=2)
        self.convolutions = FGASegGuidedConvolutions(in_dim - guidance_dim, guidance_dim, out_dim)

    def share(self, guidance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Computes once a picture what `forward` needs for each class.

        Args:
            guidance: (batch, guidance_dim, 2 height, 2 width).

        Returns:
            A map that all classes share, (batch, out_dim, 2 height, 2 width), and the kernel of upsampling and first
            convolution as one step, (in_dim, out_dim, 4, 4), or `None` if a module must be called itself.
        """
        shared, kernel = self.convolutions.convolve_guidance(guidance), None
        if is_plain(self.upsampling) and is_plain(self.convolutions.convolution_1):
            height, width = guidance.shape[-2:]
            kernel, bias = compose_upsampling(self.upsampling, self.convolutions.convolution_1, height, width)
            shared = shared + bias
        # In the memory format of the maps, which adding does several times as fast.
        return shared.contiguous(memory_format=torch.channels_last), kernel

    def forward(self, cost_embeddings: torch.Tensor, shared: torch.Tensor, kernel: torch.Tensor | None) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, in_dim).
            shared: The map that `share` returned.
            kernel: The kernel that it returned.

        Returns:
            (batch, classes, 2 height, 2 width, out_dim).
        """
        maps = costs_to_maps(cost_embeddings)
        if kernel is None:
            maps = self.convolutions(self.upsampling(maps), shared)
        else:
            maps = self.convolutions.finish(nn.functional.conv_transpose2d(maps, kernel, stride=2, padding=1), shared)
        return maps_to_costs(maps, cost_embeddings.shape[0])


class FGASegLocalUpsampling(nn.Module):
    """Brings the local embedding to the resolution of the second upsampling stage, without guidance.

    Nothing else sees the embedding at this place, so it is computed in one step with the upsampling.
    """

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        dim = config.decoder_dims[0]
        self.upsampling = nn.ConvTranspose2d(config.decoder_hidden_dim, dim, kernel_size=2, stride=2)
        self.convolutions = FGASegGuidedConvolutions(dim, 0, dim)

    def compose(self, embedding: FGASegCostEmbedding) -> tuple[torch.Tensor, ...]:
        """What `forward` needs for one step: weight and bias, or nothing if a module must be called itself."""
        embedding_convolution, convolution = embedding.convolution, self.convolutions.convolution_1
        is_composable = is_plain(embedding_convolution) and is_plain(self.upsampling) and is_plain(convolution)
        if is_watched(embedding) or not is_composable:
            return ()
        return compose_embedding_and_raising(embedding_convolution, self.upsampling, convolution)

    def forward(self, local_states: torch.Tensor, *composed: torch.Tensor) -> torch.Tensor:
        """
        Args:
            local_states: Local embeddings (batch, classes, height, width, channels); with `composed`, the pseudo-masks
                that they would be made of, (batch, classes, height, width).
            composed: What `compose` returned for their embedding.

        Returns:
            (batch, classes, 2 height, 2 width, decoder_dims[0]).
        """
        if composed:
            maps = self.convolutions.finish(embed_and_raise(local_states.flatten(0, 1), *composed))
        else:
            maps = self.convolutions(self.upsampling(costs_to_maps(local_states)))
        return maps_to_costs(maps, local_states.shape[0])


class FGASegMaskHead(nn.Module):
    """One logit a class and position."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_dim, 1, kernel_size=3, padding=1)

    def forward(self, cost_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width, channels) -> (batch, classes, height, width)."""
        grid = cost_embeddings.shape[2:4]
        if is_plain(self.convolution) and _is_faster_by_taps(cost_embeddings):
            # Each tap's product, summed where the taps look.
            taps = self.convolution.weight[0].flatten(1).T.flip(0)
            products = torch.matmul(taps, cost_embeddings.flatten(2, 3).flatten(0, 1).transpose(1, 2))
            bias = cast(torch.Tensor, self.convolution.bias)
            maps = nn.functional.fold(products, grid, kernel_size=3, padding=1) + bias
        else:
            maps = self.convolution(costs_to_maps(cost_embeddings))
        return maps.squeeze(1).unflatten(0, cost_embeddings.shape[:2])


class FGASegCategoryDecoder(nn.Module):
    """Fusion, aggregation, two guided upsampling stages and the heads; TopK between them at inference."""

    # Transformers sets both; see `apply_in_parts`.
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
        dim, (dim_1, dim_2) = self.config.decoder_hidden_dim, self.config.decoder_dims

        # step 1: the class limit
        batch_size, num_classes = global_pseudo_masks.shape[:2]
        selection = ClassSelection.of_all(batch_size, num_classes, global_pseudo_masks.device)
        # Where the number of classes is not known yet, all of them may be kept.
        is_unknown = isinstance(num_classes, torch.SymInt)
        if self.config.class_limit is not None and (is_unknown or num_classes > self.config.class_limit):
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

        # step 3: score by the first auxiliary head; TopK before anything costly
        scores_0 = self._first_scores(global_pseudo_masks, local_pseudo_masks)
        all_scores = [None if scores_0 is None else selection.scatter(scores_0)]
        selection, (global_pseudo_masks, local_pseudo_masks, text_guidance) = self._keep_best(
            global_pseudo_masks if scores_0 is None else scores_0,
            selection,
            global_pseudo_masks,
            local_pseudo_masks,
            text_guidance,
        )

        # step 4: embed, fuse, and aggregate over space and classes
        costs = self._embed(global_pseudo_masks, local_pseudo_masks)
        # Nothing else holds the embeddings, unless hooks do: the layers may write over them.
        is_own = not is_watched(self)
        for layer in self.aggregation_layers:
            out = costs if is_own else None
            costs = layer(costs, appearance_guidance, text_guidance, selection.is_kept, out)

        # step 5: up to 4 x the patch grid, class by class. What lies between the stages is large, so each class goes
        # through all of them in one run, unless TopK may drop classes in between.
        stages = (self._fuse_again, self._upsample, self._upsample_and_classify)
        is_narrowed = self.config.class_selection_rule == "union" and self._num_kept_classes is not None
        runs = [(stage,) for stage in stages] if is_narrowed else [stages]
        shared = self._share(guidance_1, guidance_2)
        for run in runs:
            costs, *scores = self._by_class(
                partial(_run_stages, run), (costs, local_pseudo_masks), shared, max(2 * dim, 4 * 2 * dim_1, 16 * dim_2)
            )
            all_scores += [None if maps is None else selection.scatter(maps) for maps in scores]
            if costs is not None:
                selection, (costs, local_pseudo_masks) = self._keep_best(
                    scores[-1], selection, costs, local_pseudo_masks
                )
        *scores, logits = all_scores
        auxiliary_logits = tuple(maps for maps in scores if maps is not None)
        return FGASegDecoderOutput(cast(torch.Tensor, logits), auxiliary_logits, selection.indices)

    def _by_class(
        self,
        function: Callable[..., Any],
        by_class: tuple[torch.Tensor | None, ...],
        shared: tuple[torch.Tensor | None, ...],
        values_per_position: int,
    ) -> Any:
        """Applies a function of each class by itself, a few classes at a time."""
        checkpoint = self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None
        batch_size, _, height, width = next(tensor for tensor in by_class if tensor is not None).shape[:4]
        return apply_in_parts(
            function,
            by_class,
            shared,
            dim=1,
            values_per_item=batch_size * height * width * values_per_position,
            checkpoint=checkpoint,
        )

    def _embed(self, global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None) -> torch.Tensor:
        """Embeds both pseudo-masks and fuses them for the first time."""
        masks, dim = (global_pseudo_masks, local_pseudo_masks), self.config.decoder_hidden_dim
        convolution = self._embedding_and_fusion(local_pseudo_masks is not None)
        if convolution is None:
            return self._by_class(self._embed_then_fuse, masks, (), dim)
        return self._by_class(_embed_masks, masks, convolution, dim)

    def _embed_then_fuse(
        self, global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None
    ) -> torch.Tensor:
        costs = self.global_embedding(global_pseudo_masks)
        return costs if local_pseudo_masks is None else self.fusions[0](costs, self.local_embedding(local_pseudo_masks))

    def _embedding_and_fusion(self, has_local: bool) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Puts embeddings and first fusion, linear all of them, together into one convolution of the pseudo-masks.

        Args:
            has_local: Whether there are local pseudo-masks.

        Returns:
            Its kernel (channels, 1 or 2, 7, 7) and bias (channels,), or `None` if a module must be called itself.
        """
        if is_watched(self.global_embedding) or (
            has_local and (is_watched(self.local_embedding) or is_watched(self.fusions[0]))
        ):
            return None
        embeddings, linear = [self.global_embedding.convolution], None
        if has_local:
            embeddings.append(self.local_embedding.convolution)
            linear = cast(FGASegFusion, self.fusions[0]).linear
        if not all(is_plain(module) for module in (linear, *embeddings) if module is not None):
            return None
        kernels = [embedding.weight for embedding in embeddings]
        biases = [cast(torch.Tensor, embedding.bias) for embedding in embeddings]
        if linear is None:
            return torch.cat(kernels, dim=1), torch.stack(biases).sum(dim=0)
        shares = linear.weight.chunk(2, dim=1)
        kernels = [torch.einsum("oc,cnyx->onyx", *pair) for pair in zip(shares, kernels, strict=True)]
        # A product of a matrix and a vector would depend, in its last digit, on where in memory the weights lie.
        bias = linear.bias + (linear.weight * torch.cat(biases)).sum(dim=1)
        return torch.cat(kernels, dim=1), bias

    def _first_scores(
        self, global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Computes auxiliary map 0, without the embeddings that it is defined on where that can be done.

        Embedding, fusion and head are linear, so together they are a convolution with a map for each of the head's
        taps, and the sum of these maps, each moved to where its tap looks. Beyond the edge the head sees zeros.
        """
        if not self.config.use_auxiliary_heads:
            return None
        head = cast(FGASegMaskHead, self.auxiliary_heads[0]).convolution
        convolution = self._embedding_and_fusion(local_pseudo_masks is not None)
        if convolution is None or not is_plain(head):
            return self._score(0, self._embed(global_pseudo_masks, local_pseudo_masks))
        taps = head.weight[0].flatten(1).T
        return self._by_class(
            _sum_of_tap_maps,
            (global_pseudo_masks, local_pseudo_masks),
            (
                torch.einsum("tc,cnyx->tnyx", taps, convolution[0]),
                (taps * convolution[1]).sum(dim=1),
                cast(torch.Tensor, head.bias),
            ),
            len(taps),
        )

    def _share(self, guidance_1: torch.Tensor, guidance_2: torch.Tensor) -> FGASegSharedMaps:
        """Computes once a picture what step 5 needs for each class."""
        map_1, kernel_1 = self.upsampling_1.share(guidance_1)
        map_2, kernel_2 = self.upsampling_2.share(guidance_2)
        fusion = local = None
        if self.config.use_local_pseudo_masks:
            fusion = self._local_embedding_and_fusion()
            local = self.local_upsampling.compose(self.local_embedding)
        return FGASegSharedMaps(map_1, kernel_1, map_2, kernel_2, *(fusion or (None, None)), *(local or (None, None)))

    def _local_embedding_and_fusion(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Puts the local embedding and its share of the second fusion together.

        Returns:
            Kernel (channels, 1, 7, 7) and bias (channels,), or `None` if a module must be called itself.
        """
        if is_watched(self.local_embedding) or is_watched(self.fusions[1]):
            return None
        embedding, linear = self.local_embedding.convolution, cast(FGASegFusion, self.fusions[1]).linear
        if not all(is_plain(module) for module in (linear, embedding) if module is not None):
            return None
        bias = cast(torch.Tensor, embedding.bias)
        if linear is None:
            return embedding.weight, bias
        share = linear.weight.chunk(2, dim=1)[1]
        return torch.einsum("oc,cnyx->onyx", share, embedding.weight), linear.bias + (share * bias).sum(dim=1)

    def _fuse_again(
        self, costs: torch.Tensor, local_pseudo_masks: torch.Tensor | None, shared: FGASegSharedMaps
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """At the patch grid, with the local embedding."""
        if local_pseudo_masks is not None:
            kernel, bias = shared.fusion_kernel, shared.fusion_bias
            if kernel is None or bias is None:
                costs = self.fusions[1](costs, self.local_embedding(local_pseudo_masks))
            else:
                linear = cast(FGASegFusion, self.fusions[1]).linear
                if linear is not None:
                    costs = nn.functional.linear(costs, linear.weight.chunk(2, dim=1)[0])
                costs = costs + _embed_masks(local_pseudo_masks, None, kernel, bias)
        return costs, self._score(1, costs)

    def _upsample(
        self, costs: torch.Tensor, local_pseudo_masks: torch.Tensor | None, shared: FGASegSharedMaps
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Up to 2 x the patch grid, with the local embedding fused in there."""
        costs = self.upsampling_1(costs, shared.map_1, shared.kernel_1)
        if local_pseudo_masks is not None:
            is_composed = shared.local_weight is not None
            local_states = local_pseudo_masks if is_composed else self.local_embedding(local_pseudo_masks)
            composed = (shared.local_weight, shared.local_bias) if is_composed else ()
            costs = self.fusions[2](costs, self.local_upsampling(local_states, *composed))
        return costs, self._score(2, costs)

    def _upsample_and_classify(
        self, costs: torch.Tensor, local_pseudo_masks: torch.Tensor | None, shared: FGASegSharedMaps
    ) -> tuple[None, torch.Tensor]:
        """Up to 4 x the patch grid."""
        return None, self.head(self.upsampling_2(costs, shared.map_2, shared.kernel_2))

    def _score(self, place: int, costs: torch.Tensor) -> torch.Tensor | None:
        return self.auxiliary_heads[place](costs) if self.config.use_auxiliary_heads else None

    @property
    def _num_kept_classes(self) -> int | None:
        return None if self.training else self.config.num_kept_classes

    def _keep_best(
        self, scores: torch.Tensor | None, selection: ClassSelection, *tensors: torch.Tensor | None
    ) -> tuple[ClassSelection, tuple[Any, ...]]:
        """TopK at inference: narrows the selection, and each tensor with it, to the classes that score best."""
        count = self._num_kept_classes
        if count is None or scores is None:
            return selection, tensors
        places, is_kept = select_classes(scores, count, self.config.class_selection_rule, selection.is_kept)
        kept = tuple(None if tensor is None else gather_classes(tensor, places) for tensor in tensors)
        return selection.narrow(places, is_kept), kept


def _is_faster_by_taps(states: torch.Tensor) -> bool:
    """Whether a 3 x 3 convolution to a single channel is faster as nine products: eagerly on a processor.

    Half precision would round each of them.
    """
    is_program = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return states.device.type == "cpu" and states.dtype in (torch.float32, torch.float64) and not is_program


def _run_stages(
    stages: Sequence[Callable[..., tuple[torch.Tensor | None, torch.Tensor | None]]],
    costs: torch.Tensor | None,
    local_pseudo_masks: torch.Tensor | None,
    *shared: Any,
) -> tuple[torch.Tensor | None, ...]:
    """Runs stages of step 5 one after another; returns what the last one leaves, and the scores of each."""
    scores = []
    for stage in stages:
        costs, stage_scores = stage(costs, local_pseudo_masks, FGASegSharedMaps(*shared))
        scores.append(stage_scores)
    return costs, *scores


def _stack_masks(global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None) -> torch.Tensor:
    """(batch, classes, height, width), once or twice -> (batch * classes, 1 or 2, height, width)."""
    masks = [masks.flatten(0, 1) for masks in (global_pseudo_masks, local_pseudo_masks) if masks is not None]
    return torch.stack(masks, dim=1)


def _embed_masks(
    global_pseudo_masks: torch.Tensor, local_pseudo_masks: torch.Tensor | None, kernel: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Embeds the pseudo-masks of each class by one convolution.

    Args:
        global_pseudo_masks: (batch, classes, height, width).
        local_pseudo_masks: The same, or `None`.
        kernel: (channels, 1 or 2, size, size), size odd.
        bias: (channels,).

    Returns:
        (batch, classes, height, width, channels).
    """
    costs = convolve_few_channels(_stack_masks(global_pseudo_masks, local_pseudo_masks), kernel, bias)
    return costs.unflatten(0, global_pseudo_masks.shape[:2])


def _sum_of_tap_maps(
    global_pseudo_masks: torch.Tensor,
    local_pseudo_masks: torch.Tensor | None,
    kernels: torch.Tensor,
    constant: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Convolves pseudo-masks with a kernel for each tap of a 3 x 3 head, and sums the taps.

    Args:
        global_pseudo_masks: (batch, classes, height, width).
        local_pseudo_masks: The same, or `None`.
        kernels: (9, 1 or 2, size, size), size odd.
        constant: (9,), added to each tap's map.
        bias: (1,), added to the sum.

    Returns:
        (batch, classes, height, width).
    """
    masks = _stack_masks(global_pseudo_masks, local_pseudo_masks)
    maps = nn.functional.conv2d(masks, kernels, constant, padding=kernels.shape[-1] // 2)
    # Each tap's map is moved by its place in the head; what comes in over the edge is zero.
    maps = nn.functional.pad(maps, (1, 1, 1, 1))
    height, width = global_pseudo_masks.shape[2:]
    total = bias
    for tap in range(9):
        top, left = tap // 3, tap % 3
        total = total + maps[:, tap, top : top + height, left : left + width]
    return total.unflatten(0, global_pseudo_masks.shape[:2])
