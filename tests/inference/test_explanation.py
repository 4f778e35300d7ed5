# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Explanations: each step's maps are those of the model, and the figure holds a row a word."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_command_line import refused, run
from tiny_models import CLASS_NAMES, TRAINING_FREE, tiny_model, tiny_processor

from fgaseg_hf import Segmenter
from fgaseg_hf.inference import fonts
from fgaseg_hf.inference.explanation import HEAT, NOT_COMPUTED, heat_colours
from fgaseg_hf.inference.fonts import writable

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def test_maps_are_those_of_the_model() -> None:
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    explanation = segmenter.explain(PICTURE, CLASS_NAMES)
    inputs = segmenter.processor(images=PICTURE, text=CLASS_NAMES, return_tensors="pt")
    with torch.no_grad():
        output = segmenter.model(**inputs)
    assert list(explanation.maps) == [
        *("before alignment", "global pseudo-mask", "local pseudo-mask"),
        *("auxiliary map 1", "auxiliary map 2", "auxiliary map 3", "final score"),
    ]
    for name, expected in (
        ("global pseudo-mask", output.global_pseudo_masks),
        ("local pseudo-mask", output.local_pseudo_masks),
        ("auxiliary map 2", output.auxiliary_logits[1].sigmoid()),
        ("final score", output.logits.sigmoid()),
    ):
        np.testing.assert_allclose(explanation.maps[name], expected[0], atol=1e-5)
    assert (np.abs(explanation.maps["before alignment"]) <= 1.001).all()
    np.testing.assert_array_equal(explanation.result.label_map, segmenter(PICTURE, CLASS_NAMES).label_map)
    assert explanation.kept == tuple(range(5))


def test_words_that_topk_leaves_out_have_no_score() -> None:
    segmenter = Segmenter.from_model(tiny_model(num_kept_classes=2), tiny_processor())
    explanation = segmenter.explain(PICTURE, CLASS_NAMES)
    assert len(explanation.kept) == 2
    left_out = sorted(set(range(5)) - set(explanation.kept))
    for name in ("auxiliary map 3", "final score"):
        assert np.isnan(explanation.maps[name][left_out]).all()
    assert not np.isnan(explanation.maps["auxiliary map 1"]).any()
    assert not np.isnan(explanation.maps["final score"][list(explanation.kept)]).any()
    assert explanation.peaks[list(explanation.kept)].min() >= explanation.peaks[left_out].max()


@pytest.mark.parametrize("fields", [TRAINING_FREE, {"p2tformer_num_layers": 0, "use_local_pseudo_masks": False}])
def test_other_models_show_what_they_have(fields: dict) -> None:
    segmenter = Segmenter.from_model(tiny_model(**fields), tiny_processor())
    explanation = segmenter.explain(PICTURE, ["sky", "tree"], synonyms={"tree": ["bush"]})
    assert explanation.words == ("bush", "sky", "tree")
    assert "before alignment" not in explanation.maps
    assert all(len(values) == 3 for values in explanation.maps.values())
    assert explanation.figure().width > 200


@pytest.mark.parametrize("count", [1, 40])
def test_a_figure_of_any_number_of_words(count: int) -> None:
    segmenter = Segmenter.from_model(tiny_model(num_kept_classes=16), tiny_processor())
    figure = segmenter.explain(PICTURE, [f"thing {number}" for number in range(count)]).figure()
    assert max(figure.size) < 3000
    assert min(figure.size) > 300


def test_heat_colours_span_the_scale() -> None:
    colours = heat_colours(np.array([0.0, 1.0, 2.0, np.nan]), 0.0, 1.0)
    assert colours.tolist() == [HEAT[0].astype(int).tolist(), *[HEAT[-1].astype(int).tolist()] * 2, list(NOT_COMPUTED)]


def test_the_command(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    PICTURE.save(tmp_path / "street.png")
    arguments = ["explain", tmp_path / "street.png", "--labels", "sky, tree", "--model", tmp_path / "model", "--output"]
    for name in ("figure.png", "figure.jpg"):
        for _ in range(2):
            result = run(*arguments, tmp_path / name)
            assert result.exit_code == 0, result.output
            assert Image.open(tmp_path / name).width > 200
    assert "--overwrite" in refused(*arguments, tmp_path / "street.png")
    assert ".gif" in refused(*arguments, tmp_path / "figure.gif")


def test_letters_are_written_or_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow's own font alone, as on a machine without others.
    fonts._choose.cache_clear()
    monkeypatch.setattr(fonts, "_font_files", lambda: ("",))
    assert writable("sky 41 %", 12)[1] == "sky 41 %"
    assert writable("天空", 12)[1] == "\\u5929\\u7a7a"
    assert writable("地海", 12)[1] != writable("天空", 12)[1]
    fonts._choose.cache_clear()


def test_a_font_that_has_the_letters_is_found() -> None:
    pytest.importorskip("matplotlib")
    font, shown = writable("Straße, Дом", 12)
    assert shown == "Straße, Дом"
    assert font.getmask("ß").getbbox() is not None
