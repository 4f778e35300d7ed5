# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The decoder as a whole."""

import torch
from tiny_models import tiny_config

from fgaseg_hf.model.category_decoder import FGASegCategoryDecoder


def test_only_kept_classes_are_decoded():
    """Classes that TopK drops must not be able to change the kept ones' logits."""
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config(num_kept_classes=2)).eval()
    masks, text = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 16)
    rest = (torch.randn(1, 16, 3, 3), (torch.randn(1, 12, 6, 6), torch.randn(1, 8, 12, 12)))
    with torch.no_grad():
        first = decoder(masks, masks, text, *rest)
        kept = first.kept_classes[0]
        dropped = [index for index in range(4) if index not in kept.tolist()]
        changed = text.clone()
        changed[:, dropped] = torch.randn(1, 2, 16)
        second = decoder(masks, masks, changed, *rest)
    assert torch.equal(second.kept_classes, first.kept_classes)
    assert torch.equal(second.logits[:, kept], first.logits[:, kept])
