# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Colours, overlays, legends and saved label maps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fgaseg_hf.inference import fonts, visualization
from fgaseg_hf.inference.label_map_files import label_map_picture, save_label_map
from fgaseg_hf.inference.visualization import (
    class_palette,
    class_shares,
    draw_overlay,
)

NAMES = ["sky", "red car", "house"]


def test_palette_is_distinct_and_grows_at_its_end() -> None:
    palette = class_palette(3000)
    assert palette.shape == (3000, 3)
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 3000
    np.testing.assert_array_equal(class_palette(7), palette[:7])
    assert class_palette(0).shape == (0, 3)
    # The first colours, which most pictures use, are far from one another.
    first = palette[:12].astype(int)
    distances = np.abs(first[:, None] - first[None]).sum(axis=-1) + 999 * np.eye(12, dtype=int)
    assert distances.min() > 60
    with pytest.raises(ValueError, match="-1"):
        class_palette(-1)


def test_shares() -> None:
    ids = np.array([[0, 0, 2], [2, -1, 255]])
    np.testing.assert_allclose(class_shares(ids, 4), [2 / 6, 0, 2 / 6, 0])
    np.testing.assert_allclose(class_shares(torch.tensor(ids), 3), [2 / 6, 0, 2 / 6])


def test_overlay_blends_colours_and_keeps_unlabelled_pixels() -> None:
    picture = Image.new("RGB", (90, 60), (100, 100, 100))
    ids = np.zeros((60, 90), int)
    ids[:, 30:60] = 1
    ids[:, 60:] = -1
    overlay = np.asarray(draw_overlay(picture, ids, NAMES, alpha=0.25)).astype(int)
    palette = class_palette(3).astype(int)
    np.testing.assert_allclose(overlay[30, 10], 75 + 0.25 * palette[0], atol=1)
    np.testing.assert_allclose(overlay[30, 45], 75 + 0.25 * palette[1], atol=1)
    assert overlay[30, 80].tolist() == [100, 100, 100]
    # The outline between two classes has their full colours.
    assert overlay[30, 29].tolist() == palette[0].tolist()
    assert overlay[30, 30].tolist() == palette[1].tolist()


def test_overlay_of_no_opacity_is_the_picture_with_a_legend() -> None:
    pixels = np.random.randint(0, 256, (120, 200, 3), dtype=np.uint8)
    overlay = draw_overlay(Image.fromarray(pixels), np.random.randint(0, 3, (120, 200)), NAMES, alpha=0)
    assert overlay.mode == "RGB"
    assert overlay.height > 120
    np.testing.assert_array_equal(np.asarray(overlay)[:120, :200], pixels)


def test_legend_shows_the_classes_that_occur() -> None:
    ids = np.ones((100, 300), int)
    overlay = np.asarray(draw_overlay(Image.new("RGB", (300, 100)), ids, NAMES))
    legend = {tuple(colour) for colour in overlay[100:].reshape(-1, 3).tolist()}
    palette = class_palette(3)
    assert tuple(palette[1].tolist()) in legend
    assert tuple(palette[0].tolist()) not in legend


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (500, 20)])
def test_small_pictures_have_a_legend_too(size: tuple[int, int]) -> None:
    ids = np.zeros((size[1], size[0]), np.uint8)
    overlay = draw_overlay(Image.new("L", size), ids, ["a rather long name of a class"])
    assert overlay.width > 100


def test_overlay_takes_tensors_pictures_and_many_names() -> None:
    ids = np.arange(40 * 60).reshape(40, 60) % 300
    names = [f"class {index}" for index in range(300)]
    picture = Image.new("P", (60, 40))
    assert draw_overlay(picture, torch.tensor(ids), names) == draw_overlay(picture, ids, names)
    few = Image.fromarray((ids % 3).astype(np.uint8))
    assert draw_overlay(picture, few, NAMES).mode == "RGB"


@pytest.mark.parametrize(
    ("label_map", "alpha", "message"),
    [
        (np.zeros((60, 40), int), 0.5, "60 x 40"),
        (np.full((40, 60), 3), 0.5, "id 3 but there are 3 class names"),
        (np.zeros((40, 60), int), 1.5, "alpha"),
        (np.zeros((40, 60)), 0.5, "whole numbers"),
        (np.zeros((1, 40, 60), int), 0.5, r"\(1, 40, 60\)"),
    ],
)
def test_unusable_overlays_are_refused(label_map: Any, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_overlay(Image.new("RGB", (60, 40)), label_map, NAMES, alpha)


@pytest.mark.parametrize(
    ("num_classes", "unlabelled", "mode", "unlabelled_id"),
    [
        (3, True, "P", 255),
        (255, True, "P", 255),
        (256, False, "P", 255),
        (256, True, "I;16", 65535),
        (900, True, "I;16", 65535),
    ],
)
def test_saved_label_maps_keep_their_ids(
    tmp_path: Path, num_classes: int, unlabelled: bool, mode: str, unlabelled_id: int
) -> None:
    ids = np.random.randint(0, num_classes, (20, 30))
    ids[0, 0] = num_classes - 1
    if unlabelled:
        ids[3, 4] = -1
    names = [f"class {index}" for index in range(num_classes)]
    json_path = save_label_map(torch.tensor(ids), names, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as saved:
        assert saved.mode == mode
        np.testing.assert_array_equal(np.asarray(saved), np.where(ids < 0, unlabelled_id, ids))
        if mode == "P":
            palette = np.array(saved.getpalette()).reshape(-1, 3)[:num_classes]
            np.testing.assert_array_equal(palette, class_palette(num_classes))

    meaning = json.loads(json_path.read_text(encoding="utf-8"))
    assert json_path == tmp_path / "map.json"
    assert meaning["unlabelled_id"] == unlabelled_id
    assert [entry["name"] for entry in meaning["classes"]] == names
    assert meaning["classes"][2]["colour"] == class_palette(3)[2].tolist()
    assert sum(entry["share"] for entry in meaning["classes"]) == pytest.approx(1 - unlabelled / 600, abs=1e-3)


def test_names_of_any_script_are_saved(tmp_path: Path) -> None:
    json_path = save_label_map(np.zeros((2, 2), int), ["Straße 道路"], tmp_path / "map.png")
    assert "Straße 道路" in json_path.read_text(encoding="utf-8")


def test_unusable_label_maps_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="id 7"):
        save_label_map(np.full((2, 2), 7), NAMES, tmp_path / "map.png")
    with pytest.raises(ValueError, match=r"\.png"):
        save_label_map(np.zeros((2, 2), int), NAMES, tmp_path / "map.jpg")
    assert not list(tmp_path.iterdir())


def test_bands_draw_what_the_whole_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.randint(0, 256, (43, 31, 3), dtype=np.uint8)
    ids = np.random.randint(-1, 3, (43, 31)).repeat(1, 0)
    whole = draw_overlay(Image.fromarray(pixels), ids, NAMES)
    stored = label_map_picture(ids, 3)
    monkeypatch.setattr(visualization, "PIXELS_AT_ONCE", 4 * 31)
    assert draw_overlay(Image.fromarray(pixels), ids, NAMES) == whole
    assert label_map_picture(ids, 3) == stored
    np.testing.assert_allclose(class_shares(ids, 3), [(ids == index).mean() for index in range(3)])


# Letters of a legend


def drawn(text: str) -> Image.Image:
    return draw_overlay(Image.new("RGB", (300, 260)), np.zeros((260, 300), int), [text])


@pytest.mark.parametrize(
    ("one", "other"), [("Straße", "Straüe"), ("天空", "地海"), ("мост", "море"), ("ciel à", "ciel é"), ("🐈", "🐕")]
)
def test_words_of_any_script_look_different(one: str, other: str) -> None:
    assert drawn(one) != drawn(other)


def test_accents_are_drawn_alike_in_both_forms() -> None:
    assert drawn("cafe\u0301") == drawn("caf\u00e9")


def test_what_no_font_has_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_font_files", lambda: ("",))
    fonts._choose.cache_clear()
    assert fonts.writable("sky", 20)[1] == "sky"
    assert fonts.writable("天空 Straße", 20)[1] == r"\u5929\u7a7a Stra\xdfe"
    assert fonts.writable("a\nb\x00\U0001f408", 20)[1] == r"a\nb\x00\U0001f408"
    assert drawn("天空") != drawn("地海")
    fonts._choose.cache_clear()
