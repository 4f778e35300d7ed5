# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Linear layers that follow each other, or stand side by side, as one: the same answers from less work."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn


def compose_side_by_side(linears: Sequence[nn.Linear]) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts linear layers of the same input together, as one product: narrow ones run well below full speed.

    Args:
        linears: Layers with bias, of the same input size.

    Returns:
        Weight (sum of output sizes, input size) and bias.
    """
    return torch.cat([linear.weight for linear in linears]), torch.cat([linear.bias for linear in linears])


def compose_embeddings_and_fusion(
    embeddings: Sequence[nn.Conv2d], fusion: nn.Linear | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts embeddings of maps of one channel, and the linear layer on all of them, together into one convolution.

    Args:
        embeddings: Convolutions of one channel to the same number of channels, one for each map.
        fusion: Linear layer on what they give, side by side; `None`: their sum.

    Returns:
        Kernel (channels, maps, size, size) and bias (channels,).
    """
    kernels = [embedding.weight for embedding in embeddings]
    biases = [cast(torch.Tensor, embedding.bias) for embedding in embeddings]
    if fusion is None:
        return torch.cat(kernels, dim=1), torch.stack(biases).sum(dim=0)
    shares = fusion.weight.chunk(len(embeddings), dim=1)
    kernels = [torch.einsum("oc,cnyx->onyx", *pair) for pair in zip(shares, kernels, strict=True)]
    # A product of a matrix and a vector would depend, in its last digit, on where in memory the weights lie.
    bias = fusion.bias + (fusion.weight * torch.cat(biases)).sum(dim=1)
    return torch.cat(kernels, dim=1), bias


def compose_upsampling(
    upsampling: nn.ConvTranspose2d, convolution: nn.Conv2d, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts upsampling and the convolution after it together: half the work, and no maps between.

    A transposed convolution (2 x 2, stride 2), then a convolution (3 x 3), is one transposed convolution (4 x 4,
    stride 2, padding 1).

    Args:
        upsampling: Doubles the grid, kernel and stride 2.
        convolution: Kernel 3 x 3, without bias; keeps the grid.
        height: Of the doubled grid.
        width: Of the doubled grid.

    Returns:
        Weight (channels before, channels after, 4, 4), channels last, and bias (1, channels after, height, width).
    """
    # The kernel is what a single patch becomes.
    weight = nn.functional.conv2d(upsampling.weight, convolution.weight, padding=2)
    # The upsampling's bias is the same everywhere but for the edge, beyond which the convolution sees zeros.
    kernel = torch.einsum("oiyx,i->oyx", convolution.weight, cast(torch.Tensor, upsampling.bias)).unsqueeze(1)
    bias = nn.functional.conv2d(kernel.new_ones(1, 1, height, width), kernel, padding=1)
    return weight.contiguous(memory_format=torch.channels_last), bias


def compose_embedding_and_raising(
    embedding: nn.Conv2d, upsampling: nn.ConvTranspose2d, convolution: nn.Conv2d
) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts three linear steps together for [`embed_and_raise`].

    They turn a patch of the map, two wider than the embedding's kernel, into the 2 x 2 positions of the doubled grid
    that its middle becomes, but for the edge: beyond it the convolution sees zeros, where one step sees what embedding
    and upsampling would be there. Those shares are kernels too, to be taken off at the edge.

    Args:
        embedding: Convolution of one channel, its kernel's size odd; keeps the grid.
        upsampling: Doubles the grid, kernel and stride 2.
        convolution: Kernel 3 x 3, without bias; keeps the grid.

    Returns:
        Weight (4, 4, channels, size, size) and bias (4, 4, channels). Along each of the first two axes: the first and
        the second position of the doubled grid, the share from before the edge in the first position, and the share
        from behind the edge in the last.
    """
    # What a one on the map becomes, and of it what each place of a patch gives the 4 x 4 raised positions that the
    # convolution looks at: those of the patch's middle and one more on each side.
    response = nn.functional.conv_transpose2d(embedding.weight.flip(2, 3).transpose(0, 1), upsampling.weight, stride=2)
    windows = nn.functional.pad(response, (3, 3, 3, 3)).unfold(2, 4, 2).unfold(3, 4, 2).flip(2, 3)[0]
    size = windows.shape[1]
    # The biases are the same in every patch; the window begins at the second position of the patch before.
    embedding_bias, upsampling_bias = cast(torch.Tensor, embedding.bias), cast(torch.Tensor, upsampling.bias)
    constant = torch.einsum("c,coyx->oyx", embedding_bias, upsampling.weight) + upsampling_bias[:, None, None]
    constant = constant.flip(1, 2).repeat(1, 2, 2)
    windows = torch.cat((windows.flatten(1, 2), constant.unsqueeze(1)), dim=1).transpose(0, 1)

    # Beyond an edge lies the window's outermost line, which only the outermost line of the convolution's kernel sees.
    lines = (slice(None), slice(0, 1), slice(-1, None))
    kernels = [
        [
            nn.functional.conv2d(windows[:, :, rows, columns], convolution.weight[:, :, rows, columns])
            for columns in lines
        ]
        for rows in lines
    ]
    kernel = torch.cat([torch.cat(row, dim=3) for row in kernels], dim=2).permute(2, 3, 1, 0)
    weight, bias = kernel.split((size * size, 1), dim=-1)
    return weight.unflatten(-1, (size, size)).contiguous(), bias.squeeze(-1)


def convolve_few_channels(maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Convolves maps of one or two channels to many, as a product with their patches: several times as fast there.

    Args:
        maps: (maps, channels before, height, width).
        weight: (channels after, channels before, size, size), size odd.
        bias: (channels after,).

    Returns:
        (maps, height, width, channels after).
    """
    return nn.functional.linear(_cut_patches(maps, weight.shape[-1]), weight.flatten(1), bias)


def _cut_patches(maps: torch.Tensor, size: int) -> torch.Tensor:
    """(maps, channels, height, width) -> (maps, height, width, channels * size * size), zero beyond the edge."""
    patches = nn.functional.pad(maps, (size // 2,) * 4).unfold(2, size, 1).unfold(3, size, 1)
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3)


def embed_and_raise(maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Embeds maps, doubles their grid and convolves the result, in one step.

    Args:
        maps: (maps, height, width).
        weight: (4, 4, channels, size, size), of [`compose_embedding_and_raising`].
        bias: (4, 4, channels), of the same.

    Returns:
        (maps, channels, 2 height, 2 width), in the channels-last memory format.
    """
    patches = _cut_patches(maps.unsqueeze(1), weight.shape[-1])
    raised = _raise_columns(patches, weight[:, :2], bias[:, :2])
    raised[:, :, :1, :, :1] -= _raise_columns(patches[:, :, :1], weight[:, 2:3], bias[:, 2:3])
    raised[:, :, -1:, :, -1:] -= _raise_columns(patches[:, :, -1:], weight[:, 3:], bias[:, 3:])
    return raised.transpose(2, 3).flatten(1, 2).flatten(2, 3).permute(0, 3, 1, 2)


def _raise_columns(patches: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Raises whole columns, exact at their upper and lower end.

    Args:
        patches: (maps, height, columns, patch area).
        weight: (4, 1 or 2, channels, size, size).
        bias: (4, 1 or 2, channels).

    Returns:
        (maps, height, columns, 2, 1 or 2, channels).
    """
    raised = _raise_patches(patches, weight[:2], bias[:2])
    raised[:, :1, :, :1] -= _raise_patches(patches[:, :1], weight[2:3], bias[2:3])
    raised[:, -1:, :, -1:] -= _raise_patches(patches[:, -1:], weight[3:], bias[3:])
    return raised


def _raise_patches(patches: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(..., patch area) -> (..., 1 or 2, 1 or 2, channels)."""
    raised = nn.functional.linear(patches.flatten(0, 2), weight.flatten(3).flatten(0, 2), bias.flatten())
    return raised.unflatten(-1, bias.shape).unflatten(0, patches.shape[:3])


def sum_of_taps(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Convolves maps to a single channel: each tap's product, summed where the taps look.

    Args:
        states: (maps, height, width, channels).
        weight: (1, channels, 3, 3).
        bias: (1,).

    Returns:
        (maps, height, width).
    """
    taps = weight[0].flatten(1).T.flip(0)
    products = torch.matmul(taps, states.flatten(1, 2).transpose(1, 2))
    return (nn.functional.fold(products, states.shape[1:3], kernel_size=3, padding=1) + bias).squeeze(1)


def sum_of_tap_maps(
    maps: torch.Tensor, kernels: torch.Tensor, constant: torch.Tensor, bias: torch.Tensor, *, folds: bool = False
) -> torch.Tensor:
    """Convolves maps with a kernel for each tap of a 3 x 3 convolution that follows, and sums the taps.

    Args:
        maps: (maps, channels, height, width).
        kernels: (9, channels, size, size), size odd.
        constant: (9,), added to each tap's map.
        bias: (1,), added to the sum.
        folds: Whether to sum by one operation, `fold`. It adds at a place what the opposite tap sees there: kernels and
            constants are given in reverse order.

    Returns:
        (maps, height, width).
    """
    height, width = maps.shape[2:]
    if folds:
        tap_maps = nn.functional.conv2d(maps, kernels, constant, padding=kernels.shape[-1] // 2)
        return (nn.functional.fold(tap_maps.flatten(2), (height, width), kernel_size=3, padding=1) + bias).squeeze(1)
    tap_maps = nn.functional.conv2d(maps, kernels, constant, padding=kernels.shape[-1] // 2)
    # Each tap's map is moved by its place in the kernel; what comes in over the edge is zero.
    tap_maps = nn.functional.pad(tap_maps, (1, 1, 1, 1))
    total = bias
    for tap in range(9):
        top, left = tap // 3, tap % 3
        total = total + tap_maps[:, tap, top : top + height, left : left + width]
    return total
