# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Losses of words that each have a map of their own, so that one word's probability means what it says."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Weights of the decoder's logits, its Dice term, and the three auxiliary maps.
DECODED_WEIGHT, DICE_WEIGHT, AUXILIARY_WEIGHTS = 2.0, 0.12, (0.6, 0.5, 0.7)
# Weights of the softmax over words, of the decoder's logits and of the first map.
COMPETITION_WEIGHT, FIRST_COMPETITION_WEIGHT = 0.25, 0.1
# Places where a word's weight is lower say too little to let words compete there.
LEAST_WEIGHT = 0.65
ALIGNMENT_WEIGHT = 0.2
# Pixels that a word must have for its Dice term.
LEAST_PIXELS = 20


def word_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted binary cross-entropy of each word.

    Divided by the pixels and by the square root of the number of words: divided by their number, a word among many
    would teach next to nothing.

    Args:
        logits: (batch, words, height, width).
        targets: The same shape, or finer by a whole number; from 0 to 1.
        weights: The targets' shape.

    Returns:
        A scalar.
    """
    ratio = targets.shape[-1] // logits.shape[-1]
    if ratio > 1:
        targets, weights = nn.functional.avg_pool2d(targets, ratio), nn.functional.avg_pool2d(weights, ratio)
    losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, weight=weights, reduction="sum")
    batch_size, num_words, height, width = logits.shape
    return losses / (batch_size * height * width * (4 * num_words) ** 0.5)


def dice_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice coefficient, a mean over the words that are in their picture: small ones count alike."""
    probabilities, targets = logits.float().sigmoid() * weights, targets * weights
    size = probabilities.sum(dim=(2, 3)) + targets.sum(dim=(2, 3))
    overlap = 2 * (probabilities * targets).sum(dim=(2, 3))
    is_here = (targets.sum(dim=(2, 3)) > LEAST_PIXELS).float()
    return ((1 - (overlap + 5) / (size + 5)) * is_here).sum() / is_here.sum().clamp(min=1)


def competition_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of a softmax over the words and "none of these", whose logit is 0.

    Each word's own probability does not ask which of two likely words is the likelier; the largest logit decides, so
    this does. Places with two right words (`car` and `vehicle`) or with a word that nobody is sure of are left out.

    Args:
        logits: (batch, words, height, width).
        targets: The same shape, or finer by a whole number; from 0 to 1.
        weights: The targets' shape.

    Returns:
        A scalar, the mean over the places that take part.
    """
    ratio = targets.shape[-1] // logits.shape[-1]
    if ratio > 1:
        targets, weights = nn.functional.avg_pool2d(targets, ratio), nn.functional.avg_pool2d(weights, ratio)
    total = targets.sum(dim=1)
    takes_part = (weights.amin(dim=1) > LEAST_WEIGHT) & (total < 1.001)
    shares = torch.cat((targets, (1 - total).clamp(min=0)[:, None]), dim=1)
    none = torch.zeros_like(logits[:, :1], dtype=torch.float32)
    losses = -(shares * torch.cat((logits.float(), none), dim=1).log_softmax(dim=1)).sum(dim=1)
    return (losses * takes_part).sum() / takes_part.sum().clamp(min=1)


def hardest_words(
    scores: torch.Tensor, word_ids: torch.Tensor, is_here: torch.Tensor, num_decoded: int
) -> torch.Tensor:
    """Replaces the asked words that are not there by those that the first map finds most.

    Args:
        scores: (batch, words, height, width), the first map of all words.
        word_ids: (batch, words), so that no word is taken twice.
        is_here: (batch, words) bool, the words that are in the picture: they are never taken as hard ones.
        num_decoded: The first so many words were asked for.

    Returns:
        (batch, num_decoded) places of the words to decode. Asked words that are there keep their places.
    """
    peaks = scores.flatten(2).amax(dim=2).masked_fill(is_here, -torch.inf)
    places = torch.arange(num_decoded, device=scores.device).repeat(len(scores), 1)
    for row, order in enumerate(peaks.argsort(dim=1, descending=True).tolist()):
        free = (~is_here[row, :num_decoded]).nonzero()[:, 0].tolist()
        taken = set(word_ids[row, :num_decoded][is_here[row, :num_decoded]].tolist())
        for place in order:
            if not free or is_here[row, place]:
                break
            if int(word_ids[row, place]) not in taken:
                taken.add(int(word_ids[row, place]))
                places[row, free.pop(0)] = place
    return places


def take_words(places: torch.Tensor, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """Takes some of the words of each picture, along the second axis of every tensor."""
    taken = []
    for tensor in tensors:
        index = places.view(*places.shape, *(1,) * (tensor.dim() - 2))
        taken.append(tensor.gather(1, index.expand(*places.shape, *tensor.shape[2:])))
    return taken


def picture_loss(
    model: Any,
    batch: dict[str, torch.Tensor],
    num_decoded: int,
    mines_hard_words: bool,
    with_alignment: bool,
) -> torch.Tensor:
    """The loss of a batch: every word by the first map, some by the whole decoder.

    Args:
        model: An FGASeg with category decoder and auxiliary heads, in training mode.
        batch: `pixel_values`; `text_embeddings` (batch, words, dim), `word_ids` (batch, words), `targets` and
            `weights` (batch, words, side, side).
        num_decoded: How many words are decoded.
        mines_hard_words: Whether the words that are not there are replaced by the hardest.
        with_alignment: Whether the alignment head has its loss too.

    Returns:
        A scalar.
    """
    features = model.fgaseg(pixel_values=batch["pixel_values"], text_embeddings=batch["text_embeddings"])
    decoder, targets, weights = model.decoder, batch["targets"], batch["weights"]
    first = decoder.first_scores(features.global_pseudo_masks, features.local_pseudo_masks)
    loss = AUXILIARY_WEIGHTS[0] * word_loss(first, targets, weights)
    loss = loss + FIRST_COMPETITION_WEIGHT * competition_loss(first, targets, weights)
    places = torch.arange(num_decoded).expand(len(targets), -1)
    if mines_hard_words:
        is_here = targets.sum(dim=(2, 3)) > 0
        places = hardest_words(first.detach(), batch["word_ids"], is_here, num_decoded)
    global_masks, local_masks, text, targets, weights = take_words(
        places,
        features.global_pseudo_masks,
        features.local_pseudo_masks,
        features.aligned_text_embeddings,
        targets,
        weights,
    )
    decoded = decoder(global_masks, local_masks, text, features.patch_features, features.upsampling_guidance)
    logits = nn.functional.interpolate(
        decoded.logits.float(), size=targets.shape[-2:], mode="bilinear", align_corners=False
    )
    loss = (
        loss + DECODED_WEIGHT * word_loss(logits, targets, weights) + DICE_WEIGHT * dice_loss(logits, targets, weights)
    )
    half = nn.functional.interpolate(
        decoded.logits.float(), size=[side // 2 for side in targets.shape[-2:]], mode="bilinear", align_corners=False
    )
    loss = loss + COMPETITION_WEIGHT * competition_loss(half, targets, weights)
    for weight, maps in zip(AUXILIARY_WEIGHTS[1:], decoded.auxiliary_logits[1:], strict=True):
        loss = loss + weight * word_loss(maps, targets, weights)
    if with_alignment:
        aligned = model.alignment_head(text, features.patch_features)
        loss = loss + ALIGNMENT_WEIGHT * word_loss(aligned, targets, weights)
    return loss
