# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps beside resizing every class; what must not be resized; memory; values that are no numbers."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fgaseg_hf.model import label_maps
from fgaseg_hf.model.label_maps import classes_that_can_win, find_best_classes, spans_of_axis

LOWEST = torch.finfo(torch.float32).min


def resize(maps, size):
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [part for part in (result if isinstance(result, tuple) else (result,)) if torch.is_tensor(part)]
        self.numel = max([self.numel, *(tensor.numel() for tensor in tensors)])
        return result


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    num_classes=st.integers(1, 12),
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    part_size=st.integers(1, 12),
    at_once=st.none() | st.integers(1, 4),
    num_dropped=st.integers(0, 11),
    roughness=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_the_best_classes_are_those_of_resizing_everything(
    num_classes, source, target, part_size, at_once, num_dropped, roughness, seed
):
    generator = torch.Generator().manual_seed(seed)
    coarse = resize(3 * torch.randn(num_classes, 3, 3, generator=generator), source)
    maps = coarse + roughness * torch.randn(num_classes, *source, generator=generator)
    maps[: min(num_dropped, num_classes - 1)] = LOWEST
    parts = ((start, maps[start : start + part_size]) for start in range(0, num_classes, part_size))
    label_map, best = find_best_classes(parts, target, at_once)
    resized = resize(maps, target)
    assert label_map.shape == best.shape == target and label_map.dtype == torch.int64
    torch.testing.assert_close(best, resized.amax(dim=0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(resized.gather(0, label_map[None])[0], best, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part_size", [1, 2, 6])
def test_of_equal_classes_the_first_wins(part_size):
    maps = torch.randn(2, 7, 9).repeat(3, 1, 1)
    label_map, _ = find_best_classes(((i, maps[i : i + part_size]) for i in range(0, 6, part_size)), (100, 150))
    assert label_map.unique().tolist() == [0, 1]


def test_half_precision_makes_no_ties():
    maps = torch.randn(5, 6, 8).bfloat16()
    label_map, best = find_best_classes([(0, maps)], (50, 70))
    resized = resize(maps.float(), (50, 70))
    torch.testing.assert_close(best, resized.amax(dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(resized.gather(0, label_map[None])[0], best, atol=1e-5, rtol=0)


def test_autocast_leaves_label_maps_as_they_are():
    maps = torch.randn(5, 6, 8)
    expected = find_best_classes([(0, maps)], (50, 70))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = find_best_classes([(0, maps)], (50, 70))
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_minus_infinity_takes_no_part_and_infinity_is_refused():
    maps = torch.zeros(4, 5, 6)
    maps[1], maps[3] = -torch.inf, 1
    label_map, best = find_best_classes([(0, maps)], (20, 30))
    assert label_map.unique().tolist() == [3]
    assert best.isfinite().all()
    maps[2, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="infinite or not numbers"):
        find_best_classes([(0, maps[:2]), (2, maps[2:])], (20, 30))


def test_rows_are_those_of_the_whole():
    maps = torch.randn(5, 6, 8)
    label_map, best = find_best_classes([(0, maps)], (500, 70))
    for rows in (slice(0, 3), slice(100, 420), slice(499, 500)):
        part, best_of_part = find_best_classes([(0, maps)], (500, 70), rows=rows)
        assert torch.equal(part, label_map[rows])
        torch.testing.assert_close(best_of_part, best[rows])


def test_only_classes_that_can_win_are_resized(monkeypatch):
    monkeypatch.setattr(label_maps, "PROCESSOR_TILE_SIDES", (10, 10))
    seen = []
    improve_tile = label_maps.improve_tile

    def watched(best, label_map, maps, *others):
        seen.append(len(classes_that_can_win(maps, best)))
        improve_tile(best, label_map, maps, *others)

    monkeypatch.setattr(label_maps, "improve_tile", watched)
    # One class leads on the left, another on the right, and two follow behind everywhere.
    ramp = torch.linspace(-1, 1, 20).expand(20, 20)
    maps = torch.stack((-3 * ramp, 3 * ramp, ramp - 5, torch.full((20, 20), LOWEST)))
    label_map, _ = find_best_classes([(0, maps)], (40, 40))
    assert label_map[:, :20].unique().tolist() == [0] and label_map[:, 20:].unique().tolist() == [1]
    assert len(seen) == 16 and set(seen) == {1, 2}


def test_dropped_classes_alone():
    label_map, best = find_best_classes([(0, torch.full((3, 4, 5), LOWEST))], (30, 40))
    assert label_map.unique().tolist() == [0]
    assert best.isfinite().all()


def test_memory_is_bounded():
    with LargestTensor() as largest:
        find_best_classes([(0, torch.randn(500, 4, 4))], (300, 400))
    assert 120_000 <= largest.numel <= 2**24
    with LargestTensor() as largest:
        find_best_classes([(0, torch.randn(500, 4, 4))], (300, 400), num_classes_at_once=2)
    assert largest.numel <= 2 * 300 * 400


@pytest.mark.parametrize(("source", "target"), [(1, 1), (1, 9), (9, 1), (24, 500), (100, 33), (96, 96)])
def test_spans_are_the_axis_resized(source, target):
    values = torch.randn(source)
    spans = spans_of_axis(source, target, values)
    joined = torch.cat([span.weights @ values[span.source] for span in spans])
    assert [span.target.start for span in spans[1:]] == [span.target.stop for span in spans[:-1]]
    expected = F.interpolate(values[None, None, :, None], size=(target, 1), mode="bilinear")[0, 0, :, 0]
    torch.testing.assert_close(joined, expected, atol=1e-5, rtol=1e-5)


def test_what_is_no_number_is_named():
    maps = torch.randn(3, 4, 4)
    maps[1, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="not numbers: the weights"):
        find_best_classes([(0, maps)], (8, 8))
    with pytest.raises(ValueError, match="at least one"):
        find_best_classes([], (8, 8))
