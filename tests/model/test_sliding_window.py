# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Windows: splitting and stitching, pictures of different sizes, and settings that do not fit."""

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model

from fgaseg_hf import label_with_sliding_window, predict_with_sliding_window
from fgaseg_hf.model import sliding_window
from fgaseg_hf.model.sliding_window import split_into_windows, stitch_windows


def test_stitching_undoes_splitting():
    pictures = torch.randn(2, 3, 20, 14)
    windows = split_into_windows(pictures, window_size=8, stride=6)
    assert windows.shape == (2, 6, 3, 8, 8)
    assert torch.equal(windows[1, 2], pictures[1, :, 6:14, 0:8])
    for picture, parts in zip(pictures, windows, strict=True):
        torch.testing.assert_close(stitch_windows(parts, (20, 14), stride=6), picture)


def test_overlap_is_averaged():
    windows = torch.stack((torch.zeros(1, 4, 4), torch.ones(1, 4, 4)))
    stitched = stitch_windows(windows, (4, 6), stride=2)
    assert stitched[0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_pictures_of_different_sizes_alone_and_together():
    model = tiny_model()
    text_embeddings = tiny_inputs()["text_embeddings"]
    pictures = [torch.randn(3, 50, 70), torch.randn(3, 33, 20)]
    together = model.segment_with_sliding_window(pictures, text_embeddings, overlap=0.25, batch_size=3)
    for picture, probabilities in zip(pictures, together, strict=True):
        assert probabilities.shape == (5, *picture.shape[1:])
        assert probabilities.min() >= 0 and probabilities.max() <= 1
        (alone,) = model.segment_with_sliding_window(picture[None], text_embeddings, overlap=0.25)
        torch.testing.assert_close(probabilities, alone, atol=1e-5, rtol=1e-4)


def test_a_constant_prediction_stays_itself():
    (probabilities,) = predict_with_sliding_window(
        lambda pictures: torch.zeros(len(pictures), 2, 4, 4), [torch.randn(3, 9, 13)], window_size=8, overlap=0.5
    )
    torch.testing.assert_close(probabilities, torch.full((2, 9, 13), 0.5))


def test_published_settings_see_five_views():
    seen = []

    def predict_logits(pictures):
        seen.append(tuple(pictures.shape))
        return torch.zeros(len(pictures), 1, 4, 4)

    predict_with_sliding_window(predict_logits, [torch.randn(3, 100, 80)], batch_size=8)
    assert seen == [(5, 3, 384, 384)]
    predict_with_sliding_window(predict_logits, [torch.randn(3, 100, 80)], batch_size=2)
    assert [shape[0] for shape in seen[1:]] == [2, 2, 1]
    predict_with_sliding_window(predict_logits, [torch.randn(3, 100, 80)])
    assert [shape[0] for shape in seen[4:]] == [1] * 5


@pytest.mark.parametrize("use_whole_picture", [True, False])
def test_labels_are_the_best_of_all_probabilities(monkeypatch, use_whole_picture):
    model, inputs = tiny_model(num_kept_classes=3), tiny_inputs(1, 6)
    pictures = [torch.randn(3, 50, 70), torch.randn(3, 33, 20)]

    def predict_logits(windows):
        return model(pixel_values=windows, text_embeddings=inputs["text_embeddings"]).logits

    settings = {"window_size": 32, "overlap": 0.25, "use_whole_picture": use_whole_picture}
    with torch.no_grad():
        whole = predict_with_sliding_window(predict_logits, pictures, **settings)
        # two classes at a time
        monkeypatch.setattr(sliding_window, "VALUES_PER_PART", 2 * 5 * 32 * 32)
        parts = predict_with_sliding_window(predict_logits, pictures, **settings)
        labelled = label_with_sliding_window(predict_logits, pictures, **settings)
    for probabilities, in_parts, (label_map, best) in zip(whole, parts, labelled, strict=True):
        assert torch.equal(in_parts, probabilities)
        # Another order of operations rounds otherwise, so of classes that are level another may win.
        torch.testing.assert_close(best, probabilities.amax(dim=0))
        torch.testing.assert_close(probabilities.gather(0, label_map[None])[0], best)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resized_size": 641}, "`resized_size` 641"),
        ({"resized_size": 100}, "`resized_size` 100"),
        ({"overlap": 1.0}, "`overlap` is 1.0"),
        ({"overlap": -0.5}, "`overlap` is -0.5"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"max_memory": -1}, "`max_memory` is -1"),
        ({"pixel_values": []}, "`pixel_values` is empty"),
        ({"pixel_values": ["picture.png"]}, "something else than pictures"),
        ({"pixel_values": [torch.zeros(3, 9, 9, device="meta")]}, "something else than pictures"),
        ({"overlap": "0.5"}, "`overlap` is '0.5'"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message):
    settings = {"pixel_values": [torch.zeros(3, 9, 9)], **settings}
    with pytest.raises(ValueError, match=message):
        predict_with_sliding_window(lambda pictures: pictures, settings.pop("pixel_values"), **settings)


class OnGpu(torch.Tensor):
    """A tensor that says of itself that it lies on a GPU."""

    device = property(lambda self: torch.device("cuda", 0))


def test_the_batch_fits_the_gpu_and_its_peak_stays_the_callers(monkeypatch):
    gib = 2**30
    answers = {"memory_allocated": 2 * gib, "max_memory_allocated": 3 * gib, "memory_reserved": 4 * gib}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * gib, 80 * gib))

    def reset(device=None):
        raise AssertionError("the caller's peak was wiped")

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    sizes = []

    def predict_logits(views):
        sizes.append(len(views))
        return torch.zeros(len(views), 1)

    windows = sliding_window.SlidingWindows(32, 24, 80, use_whole_picture=True, batch_size=None, max_memory=None)
    windows._predict_views(predict_logits, torch.zeros(10, 3, 32, 32).as_subclass(OnGpu))
    # the first view took 1 GiB; 80 % of what is free, and of what PyTorch holds unused, fits 4
    assert sizes == [1, 4, 4, 1]


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
@pytest.mark.parametrize("view", range(5))
@pytest.mark.parametrize("predict", [predict_with_sliding_window, label_with_sliding_window])
def test_no_pixel_is_labelled_by_what_is_no_number(predict, view, odd):
    seen = []

    def predict_logits(pictures):
        seen.append(len(pictures))
        logits = torch.zeros(len(pictures), 3, 4, 4)
        # One number of one view.
        logits[0, 1, 2, 2] = odd if len(seen) == view + 1 else 0
        return logits

    with pytest.raises(ValueError, match="not numbers"):
        predict(predict_logits, [torch.randn(3, 20, 30)], window_size=16, overlap=0.5)


def test_the_label_map_may_be_narrow():
    logits = torch.randn(1, 3, 4, 4)
    pictures = [torch.randn(3, 20, 30)]
    wide, narrow = (
        label_with_sliding_window(lambda _: logits, pictures, window_size=16, dtype=dtype)[0][0]
        for dtype in (torch.int64, torch.uint8)
    )
    assert narrow.dtype == torch.uint8 and torch.equal(narrow.long(), wide)
