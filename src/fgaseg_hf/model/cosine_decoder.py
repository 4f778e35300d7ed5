# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5 without training: CLIP's own rule, a softmax over the words at every patch."""

import torch

from .category_decoder import FGASegDecoderOutput
from .class_selection import ClassSelection, highest_peaks


def decode_cosines(
    global_pseudo_masks: torch.Tensor, logit_scale: torch.Tensor, num_kept_classes: int | None = None
) -> FGASegDecoderOutput:
    """Classifies every patch as CLIP classifies a picture.

    With c_k the cosine of a patch and word k, and s = exp(`logit_scale`), the probability of word k is the softmax
    p_k = exp(s c_k) / sum_j exp(s c_j). The logits are its log-odds log(p_k / (1 - p_k)), so that their sigmoid is p_k:
    thresholds, backgrounds and windows work on them as on a trained decoder's logits.

    Args:
        global_pseudo_masks: Cosines (batch, classes, height, width).
        logit_scale: Logarithm of the inverse of CLIP's temperature, a scalar.
        num_kept_classes: TopK: the softmax runs over so many classes of each picture, those whose maps peak highest.

    Returns:
        Logits at the patch grid, and the kept classes; there are no auxiliary logits.
    """
    batch_size, num_classes = global_pseudo_masks.shape[:2]
    selection = ClassSelection.of_all(batch_size, num_classes, global_pseudo_masks.device)
    if num_kept_classes is not None and num_kept_classes < num_classes:
        selection = selection.narrow(*highest_peaks(global_pseudo_masks, num_kept_classes))
    # In float32: at CLIP's usual scale of 100, half precision would make ties of different words.
    scale = logit_scale.float().exp()
    scores = selection.gather(global_pseudo_masks).float() * scale
    # Cosines differ by 2 at most; a single word, whose odds are infinite, gets what that difference would give.
    log_odds = softmax_log_odds(scores).clamp(max=2 * scale.detach())
    return FGASegDecoderOutput(selection.scatter(log_odds.to(global_pseudo_masks.dtype)), (), selection.indices)


def softmax_log_odds(scores: torch.Tensor) -> torch.Tensor:
    """Log-odds log(p / (1 - p)) of the softmax p over the classes: s_k minus the log-sum-exp of all others.

    Args:
        scores: (batch, classes, height, width).

    Returns:
        The same shape; infinite if there is a single class.
    """
    best = scores.argmax(dim=1, keepdim=True)
    is_best = torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)
    log_probabilities = scores.log_softmax(dim=1)
    # 1 - p of the best class is what the others sum to; as a difference it would be rounded to 0 where p is near 1.
    others_of_best = scores.masked_fill(is_best, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_others = torch.log1p(-log_probabilities.masked_fill(is_best, -torch.inf).exp())
    return torch.where(is_best, scores - others_of_best, log_probabilities - log_others)
