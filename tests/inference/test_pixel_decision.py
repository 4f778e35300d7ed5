# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pixels decided in bands, beside the rule written out for the whole picture."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F

from fgaseg_hf.inference import pixel_decision
from fgaseg_hf.inference.pixel_decision import decide_pixels

SIZE = (50, 40)


def halves(scores: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Probabilities of the first view, some labels at a time."""
    for start in range(0, scores.shape[1], 2):
        yield start, scores[0, start : start + 2].sigmoid()


@pytest.mark.parametrize("pixels_at_once", [1, 7 * SIZE[1], 10**6])
@pytest.mark.parametrize("background_index", [None, 1])
@pytest.mark.parametrize("threshold", [None, 0.6])
@pytest.mark.parametrize("parts_of", [None, halves])
def test_bands_are_the_rule(
    monkeypatch: pytest.MonkeyPatch,
    pixels_at_once: int,
    background_index: int | None,
    threshold: float | None,
    parts_of: Callable[[torch.Tensor], Iterator[tuple[int, torch.Tensor]]] | None,
) -> None:
    monkeypatch.setattr(pixel_decision, "PIXELS_AT_ONCE", pixels_at_once)
    scores = torch.randn(1, 4, 6, 5)
    decision = decide_pixels(scores, SIZE, parts_of=parts_of, background_index=background_index, threshold=threshold)
    values = scores if parts_of is None else scores.sigmoid()
    resized = F.interpolate(values, size=SIZE, mode="bilinear", align_corners=False)[0]
    named = [place for place in range(4) if place != background_index]
    best, places = resized[named].max(dim=0)
    label_map = torch.tensor(named)[places]
    confidence = best.sigmoid() if parts_of is None else best
    if background_index is not None:
        lost = resized[background_index] > best
        label_map[lost] = background_index
    else:
        lost = confidence < (0 if threshold is None else threshold)
        label_map[lost] = -1
    confidence = torch.where(lost, 1 - confidence, confidence)
    # Neighbours that are level to the last digit may go either way.
    assert (decision.label_map == label_map).float().mean() > 0.998
    assert decision.label_map.dtype == torch.int16 and decision.confidence.dtype == torch.float16
    torch.testing.assert_close(decision.confidence.float(), confidence, atol=1e-3, rtol=0)
