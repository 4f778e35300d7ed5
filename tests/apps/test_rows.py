# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Rows of very many pictures: each once, equal to the library's, also where a job was stopped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor
from typer.testing import CliRunner

from fgaseg_hf.inference.coco_export import encode_mask
from fgaseg_hf.inference.segmenter import Segmenter

pytest.importorskip("pyarrow", reason="the extra `scale` is not installed")

from fgaseg_hf.apps.row_job import RowJob, find_sources, read_rows, run_here, what_is_left
from fgaseg_hf.cli.main import app

NUM_PICTURES = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(NUM_PICTURES):
        place = folder / f"part{number % 3}"
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)).save(place / f"{number}.png")
    (folder / "part0" / "broken.png").write_bytes(b"no picture")
    return folder


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def expected(model: str, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The plain loop's rows, some of them held against the library."""
    job = RowJob(tmp_path_factory.mktemp("plain"), model, CLASS_NAMES, batch_size=6)
    job.begin()
    outcomes = list(run_here(job, what_is_left(job, find_sources(pictures))))
    assert sum(len(outcome["id"]) for outcome in outcomes) == NUM_PICTURES + 1
    rows = by_id(read_rows(job.output))
    segmenter = Segmenter(model)
    for name in ("part0/0.png", "part2/5.png"):
        result = segmenter(pictures / name, CLASS_NAMES)
        row = rows[name]
        assert (row["width"], row["height"], row["error"]) == (40, 24, None)
        assert row["words"] == result.found
        assert row["shares"] == [result.shares[word] for word in result.found]
        assert row["masks"] == [encode_mask(result[word].mask)["counts"] for word in result.found]
    assert rows["part0/broken.png"]["error"]
    return rows


def test_a_stopped_job_goes_on_and_another_is_refused(
    model: str, pictures: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    job, sources = RowJob(tmp_path / "rows", model, CLASS_NAMES, batch_size=6), find_sources(pictures)
    job.begin()
    begun = run_here(job, what_is_left(job, sources))
    next(begun), next(begun)
    begun.close()
    assert len(what_is_left(job, sources)) == len(sources) - 12
    (tmp_path / "rows" / ".half.1.partial").write_bytes(b"cut short")
    assert sum(len(outcome["id"]) for outcome in run_here(job, what_is_left(job, sources))) == len(sources) - 12
    assert by_id(read_rows(job.output)) == expected
    assert list(run_here(job, what_is_left(job, sources))) == []
    with pytest.raises(ValueError, match="words differ"):
        RowJob(tmp_path / "rows", model, ["sky"]).begin()


def test_a_model_that_was_trained_on_has_rows_of_its_own(pictures: Path, tmp_path: Path) -> None:
    folder, sources = tmp_path / "model", find_sources(pictures)
    tiny_processor().save_pretrained(folder)
    job = RowJob(tmp_path / "rows", str(folder), CLASS_NAMES, batch_size=6)
    for fields, changed in (({}, None), ({"seed": 1}, "weights"), ({"default_threshold": 0.5}, "default_threshold")):
        tiny_model(**fields).save_pretrained(folder)
        job.begin()
        begun = run_here(job, what_is_left(job, sources))
        if changed is None:
            next(begun)
            continue
        with pytest.raises(ValueError, match=changed):
            next(begun)


def test_a_table_of_pictures(model: str, pictures: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    names = ["part0/0.png", "part1/1.png"]
    rows = [{"id": name, "picture": (pictures / name).read_bytes()} for name in names]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pictures.parquet")
    arguments = [str(tmp_path / "pictures.parquet"), "--labels", ",".join(CLASS_NAMES), "--model", model]
    result = CliRunner().invoke(app, ["rows", *arguments, "--output", str(tmp_path / "rows")])
    assert result.exit_code == 0, result.output
    assert by_id(read_rows(tmp_path / "rows")) == {name: expected[name] for name in names}
    parquet.write_table(pyarrow.Table.from_pylist([rows[0], rows[0]]), tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="twice"):
        find_sources(tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="neither a folder"):
        find_sources(pictures / "part0" / "0.png")
