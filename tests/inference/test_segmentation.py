# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentations: what they say of themselves, and every export read back by whom it is for, with the same areas."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from fgaseg_hf import Segmentation
from fgaseg_hf.inference.coco_export import encode_mask
from fgaseg_hf.inference.labelling_tool_export import encode_brush_mask
from fgaseg_hf.inference.output_formats import FORMATS
from fgaseg_hf.inference.output_marks import is_own_file
from fgaseg_hf.inference.polygon_export import mask_to_polygons, signed_area
from fgaseg_hf.inference.visualization import class_palette

NAMES = ["sky", "red car", "Straße", "nowhere"]
MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@pytest.fixture
def result() -> Segmentation:
    generator = np.random.default_rng(0)
    # Blobs with holes, single pixels and a frame without a word.
    label_map = np.kron(generator.integers(0, 3, (6, 8)), np.ones((5, 5), int))
    label_map[generator.random(label_map.shape) < 0.1] = 1
    label_map[:2] = -1
    picture = Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    return Segmentation(picture, label_map, NAMES, generator.random((30, 40)), "street")


def test_shares_scores_and_words(result: Segmentation) -> None:
    for place, name in enumerate(NAMES):
        is_here = result.label_map == place
        assert result.shares[name] == pytest.approx(is_here.mean())
        if place < 3:
            assert result.scores[name] == pytest.approx(result.confidence[is_here].astype(float).mean(), abs=1e-6)
            rows, columns = np.nonzero(is_here)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert result[name].box == box
    assert result.unlabelled_share == pytest.approx(2 / 30)
    nowhere = result["Nowhere"]
    assert (nowhere.score, nowhere.box, nowhere.area) == (None, None, 0)
    assert [word.name for word in result] == sorted(NAMES[:3], key=lambda name: -result.shares[name])
    assert "RED  car" in result
    assert "tree" not in result
    with pytest.raises(KeyError, match="sky, red car"):
        result["tree"]
    assert "unlabelled 6.7%" in repr(result)
    assert "40 x 30" in repr(result)
    assert np.asarray(result).shape == (30, 40)


def test_a_notebook_shows_the_overlay(result: Segmentation) -> None:
    shown = Image.open(io.BytesIO(result._repr_png_()))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(result.overlay()))


def test_sums_of_a_large_picture_are_made_in_parts(monkeypatch: pytest.MonkeyPatch, result: Segmentation) -> None:
    monkeypatch.setattr("fgaseg_hf.inference.segmentation.PIXELS_AT_ONCE", 70)
    again = Segmentation(result.picture, result.label_map, NAMES, result.confidence)
    assert again.shares == result.shares
    assert again.scores["sky"] == pytest.approx(result.scores["sky"])


def test_label_pictures_hold_ids_and_colours(result: Segmentation) -> None:
    picture = result.to_label_picture()
    np.testing.assert_array_equal(np.asarray(picture), np.where(result.label_map < 0, 255, result.label_map))
    assert picture.getpalette()[3:6] == class_palette(4)[1].tolist()
    many = Segmentation(result.picture, result.label_map, [f"thing {place}" for place in range(300)], result.confidence)
    wide = np.asarray(many.to_label_picture())
    assert wide.dtype == np.uint16
    np.testing.assert_array_equal(wide, np.where(result.label_map < 0, 65535, result.label_map.astype(int)))


@given(MASKS)
@settings(deadline=None)
def test_coco_reads_run_lengths(mask: np.ndarray) -> None:
    packed = encode_mask(mask)
    np.testing.assert_array_equal(coco_mask.decode(packed), mask)
    assert packed["counts"].encode() == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def test_coco_reads_the_annotations(result: Segmentation, tmp_path: Path) -> None:
    (path,) = result.save(tmp_path, formats=["coco"])
    data = COCO(str(path))
    names = {category["id"]: category["name"] for category in data.loadCats(data.getCatIds())}
    assert sorted(names.values()) == sorted(NAMES)
    annotations = data.loadAnns(data.getAnnIds(imgIds=[1]))
    assert len(annotations) == 3
    for annotation in annotations:
        word = result[names[annotation["category_id"]]]
        np.testing.assert_array_equal(data.annToMask(annotation), word.mask)
        assert coco_mask.area(data.annToRLE(annotation)) == annotation["area"] == word.area
        assert annotation["bbox"] == coco_mask.toBbox(data.annToRLE(annotation)).tolist()


def test_coco_panoptic(result: Segmentation, tmp_path: Path) -> None:
    picture_path, json_path = result.save(tmp_path, formats=["coco-panoptic"])
    red, green, blue = np.moveaxis(np.asarray(Image.open(picture_path)).astype(int), -1, 0)
    ids = red + 256 * green + 65536 * blue
    description = json.loads(json_path.read_text(encoding="utf-8"))
    (annotation,) = description["annotations"]
    assert annotation["file_name"] == picture_path.name
    names = {category["id"]: category["name"] for category in description["categories"]}
    for segment in annotation["segments_info"]:
        np.testing.assert_array_equal(ids == segment["id"], result[names[segment["category_id"]]].mask)
        packed = coco_mask.encode(np.asfortranarray((ids == segment["id"]).astype(np.uint8)))
        assert (segment["area"], segment["bbox"]) == (coco_mask.area(packed), coco_mask.toBbox(packed).tolist())
    assert (ids[:2] == 0).all()


def filled(polygons: list, shape: tuple[int, int]) -> np.ndarray:
    """Which pixels' middles lie within polygons, by shapely."""
    shapely = pytest.importorskip("shapely")
    union = shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in polygons])
    assert union.is_valid, shapely.is_valid_reason(union)
    rows, columns = np.indices(shape)
    return shapely.contains_xy(union, columns + 0.5, rows + 0.5)


@given(MASKS)
@settings(deadline=None)
def test_polygons_follow_the_pixels(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    for rings in polygons:
        assert signed_area(rings[0]) > 0
        assert all(signed_area(hole) < 0 for hole in rings[1:])
    assert sum(signed_area(ring) for rings in polygons for ring in rings) == mask.sum()


def test_shapely_reads_the_geojson(result: Segmentation, tmp_path: Path) -> None:
    geometry = pytest.importorskip("shapely.geometry")
    (path,) = result.save(tmp_path, formats=["geojson"])
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert len(collection["features"]) == 3
    for feature in collection["features"]:
        shape = geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == feature["properties"]["pixels"] == result[feature["properties"]["name"]].area


def read_brush_mask(packed: list[int]) -> list[int]:
    """Reads the bits as Label Studio's documentation describes them."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    place = 0

    def read(length: int) -> int:
        nonlocal place
        place += length
        return int(bits[place - length : place], 2)

    count, width = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run, length = read(1), read(sizes[read(2)]) + 1
        values += [read(width)] * length if is_run else [read(width) for _ in range(length)]
    return values


@given(MASKS)
@settings(deadline=None)
def test_brush_masks_are_read_back(mask: np.ndarray) -> None:
    values = np.array(read_brush_mask(encode_brush_mask(mask))).reshape(*mask.shape, 4)
    assert (values == values[..., :1]).all()
    np.testing.assert_array_equal(values[..., 3] == 255, mask)


def test_label_studio_reads_the_brush_masks(result: Segmentation) -> None:
    # Not among the packages that the tests need: its converter brings a hundred others.
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    for region in result.to_label_studio()["predictions"][0]["result"]:
        (name,) = region["value"]["brushlabels"]
        pixels = brush.decode_rle(region["value"]["rle"]).reshape(30, 40, 4)
        np.testing.assert_array_equal(pixels[..., 3] > 0, result[name].mask)


def test_long_runs_of_a_brush_mask() -> None:
    mask = np.zeros((300, 300), bool)
    mask[150:] = True
    assert sum(read_brush_mask(encode_brush_mask(mask))) == 255 * 4 * mask.sum()


def test_cvat_masks(result: Segmentation, tmp_path: Path) -> None:
    (path,) = result.save(tmp_path, formats=["cvat"])
    image = ElementTree.parse(path).getroot().find("image")
    assert (image.get("name"), image.get("width"), image.get("height")) == ("street", "40", "30")
    masks = image.findall("mask")
    assert len(masks) == 3
    for entry in masks:
        runs = [int(run) for run in entry.get("rle").split(",")]
        values = np.repeat(np.arange(len(runs)) % 2, runs)
        left, top, width, height = (int(entry.get(key)) for key in ("left", "top", "width", "height"))
        whole = np.zeros((30, 40), bool)
        whole[top : top + height, left : left + width] = values.reshape(height, width)
        np.testing.assert_array_equal(whole, result[entry.get("label")].mask)


def test_supervision_reads_the_masks(result: Segmentation) -> None:
    pytest.importorskip("supervision")
    detections = result.to_supervision()
    assert len(detections) == 3
    for mask, box, name in zip(detections.mask, detections.xyxy, detections.data["class_name"], strict=True):
        np.testing.assert_array_equal(mask, result[str(name)].mask)
        assert tuple(box) == result[str(name)].box


def test_ids_and_colours_of_the_benchmarks(result: Segmentation) -> None:
    with pytest.raises(ValueError, match="Pascal VOC"):
        result.to_pascal_voc()
    label_map = np.array([[0, 1, 2], [-1, 1, 0]])
    picture, confidence = Image.new("RGB", (3, 2)), np.ones((2, 3))
    animals = Segmentation(picture, label_map, ["cat", "Potted plant", "background"], confidence)
    voc = animals.to_pascal_voc()
    np.testing.assert_array_equal(np.asarray(voc), [[8, 16, 0], [255, 16, 8]])
    # As the development kit has them: cat, potted plant, void.
    assert [voc.getpalette()[3 * place : 3 * place + 3] for place in (8, 16, 255)] == [
        [64, 0, 0],
        [0, 64, 0],
        [224, 224, 192],
    ]
    street = Segmentation(picture, label_map, ["road", "traffic light", "cat"], confidence)
    ids, colours = street.to_cityscapes()
    np.testing.assert_array_equal(np.asarray(ids), [[7, 19, 0], [0, 19, 7]])
    assert np.asarray(colours)[0].tolist() == [[128, 64, 128], [250, 170, 30], [0, 0, 0]]


def test_every_format_is_saved_and_known_as_ours(result: Segmentation, tmp_path: Path) -> None:
    result = Segmentation(result.picture, result.label_map, ["sky", "car", "cat", "road"], result.confidence, "street")
    for name, entry in FORMATS.items():
        paths = result.save(tmp_path / "new", formats=[name])
        assert [path.name for path in paths] == [f"street{ending}" for ending in entry.endings]
        assert all(is_own_file(path) for path in paths)
        # Its own files are replaced, another's are not.
        result.save(tmp_path / "new", formats=[name])
        Image.new("RGB", (3, 3)).save(paths[-1], format="PNG")
        with pytest.raises(ValueError, match="--overwrite"):
            result.save(tmp_path / "new", formats=[name])
        result.save(tmp_path / "new", formats=[name], overwrite=True)
    with np.load(tmp_path / "new" / "street_labels.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["label_map"], result.label_map)
        assert saved["class_names"].tolist() == ["sky", "car", "cat", "road"]
    with pytest.raises(ValueError, match="gif"):
        result.save(tmp_path, formats=["gif"])
