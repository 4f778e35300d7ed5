# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Georeferenced pictures: read in parts, and read back by rasterio with the same place on earth.

rasterio is not among the packages that the tests need; `.ci/doors` installs it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_command_line import run, visible
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf import Segmenter
from fgaseg_hf.inference import folder_job, georeferenced
from fgaseg_hf.inference.georeferenced import PartReader, is_georeferenced, segment_raster
from fgaseg_hf.inference.output_marks import is_own_file

PLACE = {33550: (0.5, 0.5, 0.0), 33922: (0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0)}


def save_raster(path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    """Saves (bands, height, width), half a metre a pixel."""
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
    count, height, width = pixels.shape
    profile = {**place, "count": count, "height": height, "width": width, "dtype": pixels.dtype, **profile}
    with rasterio.open(path, "w", driver="GTiff", **profile) as file:
        file.write(pixels)
    return path


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


def test_which_files_are_georeferenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (30, 20))
    picture.save(tmp_path / "plain.tif")
    picture.save(tmp_path / "placed.tif", tiffinfo=PLACE)
    (tmp_path / "broken.tif").write_bytes(b"II*\0" + bytes(3))
    assert is_georeferenced(tmp_path / "placed.tif")
    for name in ("plain.tif", "broken.tif", "missing.tif"):
        assert not is_georeferenced(tmp_path / name)
    picture.save(tmp_path / "own.tif", tiffinfo={305: "fgaseg_hf"})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert is_georeferenced(tmp_path / "plain.tif")
    assert [is_own_file(tmp_path / name) for name in ("own.tif", "plain.tif", "broken.tif")] == [True, False, False]


def test_without_rasterio_the_loss_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(georeferenced, "has_rasterio", lambda: False)
    monkeypatch.setattr(folder_job, "has_rasterio", lambda: False)
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    Image.new("RGB", (30, 20)).save(tmp_path / "placed.tif", tiffinfo=PLACE)
    arguments = ["--labels", "sky, tree", "--model", tmp_path / "model", "--output", tmp_path / "out"]
    result = run("segment", tmp_path / "placed.tif", *arguments)
    assert result.exit_code == 0, result.output
    assert "placed.tif: segmented without coordinates." in result.stderr
    assert "fgaseg_hf[geo]" in result.stderr
    assert visible(tmp_path / "out") == ["placed_labels.json", "placed_labels.png", "placed_overlay.png"]


def test_a_raster_of_one_part_is_a_picture(segmenter: Segmenter, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    source = save_raster(tmp_path / "field.tif", blobs(120, 160))
    raster = segment_raster(segmenter, source, CLASS_NAMES, tmp_path / "out", formats=["labels", "overlay", "geojson"])
    expected = segmenter(np.asarray(Image.open(source)), CLASS_NAMES)
    names = ["field_labels.tif", "field_labels.json", "field_overlay.tif", "field_polygons.geojson"]
    assert [path.name for path in raster.files] == names
    assert sorted(visible(tmp_path / "out")) == sorted(names)
    assert all(is_own_file(path) for path in raster.files)
    assert raster.shares == expected.shares
    assert raster.scores == pytest.approx(expected.scores, abs=1e-3)
    with rasterio.open(source) as before, rasterio.open(raster.files[0]) as labels:
        assert (labels.crs, labels.transform, labels.nodata) == (before.crs, before.transform, 255)
        np.testing.assert_array_equal(labels.read(1), expected.label_map)
        assert labels.colormap(1)[1] == (*expected[CLASS_NAMES[1]].colour, 255)
    with rasterio.open(raster.files[2]) as overlay:
        assert (overlay.crs, overlay.transform, overlay.count) == (before.crs, before.transform, 3)
        drawn = np.asarray(expected.overlay())[:120, :160]
        np.testing.assert_array_equal(overlay.read().transpose(1, 2, 0), drawn)
    meaning = json.loads(raster.files[1].read_text(encoding="utf-8"))
    assert [entry["name"] for entry in meaning["classes"]] == list(CLASS_NAMES)


def test_polygons_lie_where_the_labels_do(segmenter: Segmenter, tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    geometry = pytest.importorskip("shapely.geometry")
    source = save_raster(tmp_path / "field.tif", blobs(100, 180))
    raster = segment_raster(segmenter, source, CLASS_NAMES, tmp_path, formats=["geojson"], window=64)
    content = json.loads(raster.files[0].read_text(encoding="utf-8"))
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    areas = dict.fromkeys(CLASS_NAMES, 0.0)
    for feature in content["features"]:
        shape = geometry.shape(feature["geometry"])
        left, bottom, right, top = shape.bounds
        assert shape.is_valid and 500_000 <= left < right <= 500_090 and 4_999_950 <= bottom < top <= 5_000_000
        areas[feature["properties"]["name"]] += shape.area
    # A quarter of a square metre a pixel.
    for name, share in raster.shares.items():
        assert areas[name] == pytest.approx(share * 100 * 180 / 4)


def test_parts_cover_all_and_see_beyond_their_edge(segmenter: Segmenter, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = blobs(150, 210)
    source = save_raster(tmp_path / "field.tif", pixels)
    raster = segment_raster(segmenter, source, CLASS_NAMES, tmp_path / "out", window=64)
    with rasterio.open(raster.files[1]) as labels:
        found = labels.read(1)
    # The part at rows 64 to 128 and columns 128 to 192 sees 8 pixels more on each side.
    seen = segmenter(np.ascontiguousarray(pixels[:, 56:136, 120:200].transpose(1, 2, 0)), CLASS_NAMES)
    np.testing.assert_array_equal(found[64:128, 128:192], seen.label_map[8:72, 8:72])
    assert found.max() < len(CLASS_NAMES)
    assert sum(raster.shares.values()) == pytest.approx(1)


def test_bands_depths_and_empty_pixels(segmenter: Segmenter, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = blobs(100, 100)
    # The same colours, with 12 bits, in other bands, and a corner that the file calls empty.
    deep = (pixels.astype(np.uint16) * 16 + 1)[::-1]
    deep = np.concatenate((deep, deep[:1]))
    deep[:, :10, :10] = 0
    source = save_raster(tmp_path / "deep.tif", deep, nodata=0)
    with rasterio.open(source, "r+") as file:
        kinds = rasterio.enums.ColorInterp
        file.colorinterp = (kinds.blue, kinds.green, kinds.red, kinds.undefined)
    result = segment_raster(segmenter, source, CLASS_NAMES, tmp_path / "deep")
    assert result.unlabelled_share == pytest.approx(0.01)
    with rasterio.open(result.files[1]) as labels:
        found = labels.read(1)
    assert (found[:10, :10] == 255).all()
    assert (found == 255).mean() == pytest.approx(0.01)
    with rasterio.open(source) as raster:
        reader = PartReader(raster, 128)
        (part,) = reader.parts()
        seen = np.asarray(reader.picture(part)).transpose(2, 0, 1)[:, 10:]
    darkest, lightest = np.percentile(pixels, (2, 98))
    stretched = np.clip((pixels[:, 10:] - darkest) / (lightest - darkest), 0, 1) * 255
    # The corner is not among the values that are counted.
    np.testing.assert_allclose(seen, stretched, atol=3)
    for count in (1, 2):
        grey = save_raster(tmp_path / "grey.tif", pixels[:count])
        assert sum(segment_raster(segmenter, grey, CLASS_NAMES, tmp_path / "grey").shares.values()) == pytest.approx(1)


def test_what_cannot_be_is_one_sentence(segmenter: Segmenter, tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    source = save_raster(tmp_path / "field.tif", blobs(40, 40))
    with pytest.raises(ValueError, match="'coco' is not written of a georeferenced picture"):
        segment_raster(segmenter, source, CLASS_NAMES, tmp_path, formats=["labels", "coco"])
    with pytest.raises(ValueError, match="64 pixels or more"):
        segment_raster(segmenter, source, CLASS_NAMES, tmp_path, window=10)
    (tmp_path / "broken.tif").write_bytes(source.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"broken\.tif"):
        segment_raster(segmenter, tmp_path / "broken.tif", CLASS_NAMES, tmp_path)
    assert visible(tmp_path) == ["broken.tif", "field.tif"]


def test_the_command_and_a_second_run(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    folder = tmp_path / "pictures"
    folder.mkdir()
    save_raster(folder / "field.tif", blobs(80, 80))
    Image.new("RGB", (30, 20)).save(folder / "plain.png")
    labels = ["--labels", "sky, tree", "--model", tmp_path / "model", "--output", tmp_path / "out", "--json"]
    result = run("segment", folder, *labels, "--window", "64", "--formats", "labels, geojson")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0]["size"] == [80, 80]
    endings = ["_overlay.tif", "_labels.tif", "_labels.json", "_polygons.geojson"]
    assert [Path(name).name for name in lines[0]["files"]] == [f"field{ending}" for ending in endings]
    assert Path(lines[1]["files"][0]).name == "plain_overlay.png"
    again = run("segment", folder, *labels, "--window", "64", "--formats", "labels, geojson", "--resume")
    assert "2 pictures were done before" in again.stderr
    # What it wrote is no picture to segment, and replaced without a question.
    over = run(
        "segment", tmp_path / "out", "--labels", "sky", "--model", tmp_path / "model", "--output", tmp_path / "x"
    )
    assert "4 own results" in over.stderr
    assert not visible(tmp_path / "x")
    failing = run("segment", folder, *labels, "--formats", "coco")
    assert failing.exit_code == 1
    assert "not written of a georeferenced picture" in failing.stderr


PROGRAM = """
import resource, sys
from fgaseg_hf import Segmenter
from fgaseg_hf.inference.georeferenced import segment_raster
from tiny_models import tiny_model, tiny_processor
segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
segment_raster(segmenter, sys.argv[1], ["sky", "tree"], sys.argv[3])
before = peak()
segment_raster(segmenter, sys.argv[2], ["sky", "tree"], sys.argv[3])
sys.stdout.write(str((peak() - before) / 1024))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's account of memory")
def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for name, side in (("small", 2048), ("large", 8192)):
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": side, "height": side, "tiled": True}
        with rasterio.open(tmp_path / f"{name}.tif", "w", crs="EPSG:32633", compress="deflate", **profile) as file:
            for top in range(0, side, 1024):
                band = np.tile(blobs(1024, 1024, top), (1, 1, side // 1024))
                file.write(band, window=rasterio.windows.Window(0, top, side, 1024))
    paths = [str(tmp_path / name) for name in ("small.tif", "large.tif", "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GDAL_CACHEMAX": "64", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    # The picture alone would take 192 MiB more.
    assert float(done.stdout.split()[-1]) < 80
