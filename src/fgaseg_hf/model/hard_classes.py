# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training with many names at the price of few: all are scored by the first map, the hardest of them are decoded.

That is what TopK does at inference. A picture's own names are always decoded, and beside them those that auxiliary map
0 finds most in the picture; the map itself is trained on all of them.
"""

from typing import Any

import torch

from .category_decoder import FGASegCategoryDecoder, FGASegDecoderOutput
from .class_selection import ClassSelection, gather_classes
from .configuration_fgaseg import FGASegConfig


def own_classes(labels: torch.Tensor, num_classes: int, ignore_index: int) -> torch.Tensor:
    """Which classes stand in each picture's labels, (batch, classes) bool.

    Args:
        labels: (batch, height, width), places among the classes, or `ignore_index`.
        num_classes: How many classes there are.
        ignore_index: The label of ignored pixels.
    """
    places = labels.flatten(1).masked_fill(labels.flatten(1) == ignore_index, num_classes)
    stands = torch.zeros(labels.shape[0], num_classes + 1, dtype=torch.bool, device=labels.device)
    return stands.scatter(1, places, True)[:, :num_classes]


def hardest_classes(scores: torch.Tensor, is_own: torch.Tensor, count: int) -> torch.Tensor:
    """A picture's own classes, and the others whose maps peak highest.

    Args:
        scores: (batch, classes, height, width), auxiliary map 0.
        is_own: (batch, classes) bool.
        count: How many to take in all; more, where a picture has more of its own.

    Returns:
        Places (batch, count), rising.
    """
    count = min(max(count, int(is_own.sum(dim=1).max())), scores.shape[1])
    peaks = scores.detach().float().flatten(2).amax(dim=-1).masked_fill(is_own, torch.inf)
    return peaks.topk(count, dim=1).indices.sort(dim=1).values


def labels_among(labels: torch.Tensor, kept_classes: torch.Tensor, num_classes: int, ignore_index: int) -> torch.Tensor:
    """Labels as places among the kept classes, which hold every class that stands in the labels.

    Args:
        labels: (batch, height, width).
        kept_classes: (batch, kept), places among all classes.
        num_classes: How many classes there are.
        ignore_index: The label of ignored pixels; it stays.

    Returns:
        (batch, height, width).
    """
    place_of = torch.full((labels.shape[0], num_classes), ignore_index, device=labels.device, dtype=labels.dtype)
    places = torch.arange(kept_classes.shape[1], device=labels.device, dtype=labels.dtype).expand_as(kept_classes)
    place_of = place_of.scatter(1, kept_classes, places)
    is_labelled = labels != ignore_index
    found = place_of.gather(1, labels.masked_fill(~is_labelled, 0).flatten(1)).view(labels.shape)
    return found.masked_fill(~is_labelled, ignore_index)


def decodes_hardest(config: FGASegConfig, num_classes: int, is_training: bool) -> bool:
    """Whether a step decodes some of its classes alone.

    Raises:
        ValueError: If classes would be dropped before they are scored.
    """
    if not is_training or config.num_decoded_classes is None or num_classes <= config.num_decoded_classes:
        return False
    if config.class_limit is not None and num_classes > config.class_limit:
        raise ValueError(
            f"`num_decoded_classes` scores every name, but `class_limit` {config.class_limit} drops some of the "
            f"{num_classes}: set it to None."
        )
    return True


def decode_hardest(
    decoder: FGASegCategoryDecoder, features: Any, labels: torch.Tensor, config: FGASegConfig
) -> FGASegDecoderOutput:
    """Scores all classes by the first map, and decodes each picture's own and the hardest others.

    Args:
        decoder: With auxiliary heads.
        features: The [`FGASegModelOutput`] of pictures and all classes.
        labels: (batch, height, width), places among the classes.
        config: The model's configuration: `num_decoded_classes` says how many are decoded.

    Returns:
        As of the whole decoder. Auxiliary map 0 is of all classes; in the other maps, classes that were not decoded
        stand at the most negative finite score.
    """
    global_masks, local_masks = features.global_pseudo_masks, features.local_pseudo_masks
    batch_size, num_classes = global_masks.shape[:2]
    scores = decoder.first_scores(global_masks, local_masks)
    assert scores is not None  # the configuration refuses to rank without auxiliary heads
    is_own = own_classes(labels, num_classes, config.semantic_loss_ignore_index)
    kept = hardest_classes(scores, is_own, int(config.num_decoded_classes or num_classes))
    decoded = decoder(
        gather_classes(global_masks, kept),
        None if local_masks is None else gather_classes(local_masks, kept),
        gather_classes(features.aligned_text_embeddings, kept),
        features.patch_features,
        features.upsampling_guidance,
    )
    selection = ClassSelection(kept, None, num_classes)
    later_maps = (selection.scatter(maps) for maps in decoded.auxiliary_logits[1:])
    return FGASegDecoderOutput(selection.scatter(decoded.logits), (scores, *later_maps), kept)
