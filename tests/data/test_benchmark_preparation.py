# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg prepare` on small files in the published formats, and from there through `evaluate.py` to a table."""

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image
from pycocotools import mask as mask_api
from scipy.io import savemat
from tiny_models import tiny_model, tiny_processor
from typer.testing import CliRunner

from fgaseg_hf.cli.main import app
from fgaseg_hf.data import benchmark_preparation, parquet_shards
from fgaseg_hf.data.benchmark_preparation import describe_preparation, describe_remarks, prepare_benchmark
from fgaseg_hf.data.benchmarks import BENCHMARKS
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.data.label_decoding import voc_palette
from fgaseg_hf.data.published_files import pascal_context
from fgaseg_hf.evaluation import evaluate as evaluation_script

SIZE = (6, 8)
CONTEXT_PICTURES = ["2008_000002", "2008_000003", "2008_000007"]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def save_picture(path: Path, size: tuple[int, int] = SIZE) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator().integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
    return path.read_bytes()


def save_ids(path: Path, ids: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    label_map = Image.fromarray(ids.astype(np.uint8))
    if palette:
        label_map.putpalette(voc_palette().reshape(-1).tolist())
    label_map.save(path)


def save_ade_code(path: Path, ids: np.ndarray) -> None:
    """Writes object ids as ADE20K codes them: tens of red and green; blue and red's units number the instance."""
    code = np.stack([ids // 256 * 10 + 3, ids % 256, np.full_like(ids, 77)], axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(code.astype(np.uint8)).save(path)


def read(folder: Path, split: str = "validation") -> list[tuple[Image.Image, np.ndarray]]:
    rows = load_dataset(str(folder), split=split)
    return [(row["image"], np.asarray(row["annotation"])) for row in rows]


def class_ids(name: str, published: np.ndarray) -> np.ndarray:
    """The rules, written out pixel by pixel."""
    benchmark = BENCHMARKS[name]
    result = np.full(published.shape, benchmark.unlabelled_id)
    for class_id, published_id in enumerate(benchmark.published_ids or ()):
        result[published == published_id] = class_id
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def evaluate() -> ModuleType:
    return evaluation_script


@pytest.fixture
def measure(model: Path, evaluate: ModuleType, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], None]:
    """Evaluates a random model on a prepared folder, to a table, and compares what it counted with the label maps."""

    def run(folder: Path) -> None:
        report = evaluate.main(["--model", str(model), "--dataset", str(folder)])
        assert "mean_iou" in capsys.readouterr().out
        label_maps = [labels for _, labels in read(folder)]
        assert report["result"]["num_pictures"] == len(label_maps) > 0
        published = np.concatenate([labels.ravel() for labels in label_maps])
        found = [row["num_true_pixels"] for row in report["result"]["classes"]]
        assert found == [(published == class_id).sum() for class_id in range(len(found))] and sum(found) > 0
        assert sum(row["num_predicted_pixels"] for row in report["result"]["classes"]) == sum(found)

    return run


@pytest.fixture
def ade(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """Three pictures of the full ADE20K: classes above 255, ids that are no class, and one picture to shrink."""
    ids = BENCHMARKS["a-847"].published_ids
    assert ids is not None
    chosen = np.array([ids[0], ids[300], ids[846], 0, 1])
    maps = [generator().choice(chosen, size) for size in (SIZE, (600, 700), SIZE)]
    folder = tmp_path / "ADE20K_2021_17_01" / "images" / "ADE" / "validation"
    for number, (published, place) in enumerate(zip(maps, ("a/abbey", "s/street", "urban"), strict=True), start=1):
        save_picture(folder / place / f"ADE_val_{number:08d}.jpg", published.shape)
        save_ade_code(folder / place / f"ADE_val_{number:08d}_seg.png", published)
    return tmp_path / "ADE20K_2021_17_01", maps


def test_ade20k_847(ade: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    source, maps = ade
    save_picture(source / "images" / "ADE" / "validation" / "lone" / "ADE_val_00000009.jpg")
    prepared = prepare_benchmark("a-847", source, tmp_path / "out", show_progress=False)
    assert prepared["validation"].num_pictures == 3
    assert prepared["validation"].left_out == {"without labels": 1}
    assert describe_preparation(prepared) == "validation: 3 of 2,000 published pictures; left out: 1 without labels"

    rows = read(tmp_path / "out")
    for index in (0, 2):
        assert np.array_equal(rows[index][1], class_ids("a-847", maps[index]))
    assert {0, 300, 846, 65535} == set(np.unique(rows[0][1]))
    # The shorter side, 600, was brought to 512: 700 * 512 / 600 = 597.3.
    picture, labels = rows[1]
    assert picture.size == (597, 512)
    classes = Image.fromarray(class_ids("a-847", maps[1]).astype(np.int32))
    assert np.array_equal(labels, np.asarray(classes.resize((597, 512), Image.Resampling.NEAREST)))
    published = Image.open(next(source.rglob("ADE_val_00000002.jpg")))
    assert np.array_equal(np.asarray(picture), np.asarray(published.resize((597, 512), Image.Resampling.BILINEAR)))


def coco(tmp_path: Path) -> tuple[Path, np.ndarray]:
    source = tmp_path / "coco"
    ids = np.append(np.arange(182), 255)[np.arange(16 * 12) % 183].reshape(12, 16)
    for folder in ("train2017", "val2017"):
        for number in (9, 25):
            save_picture(source / folder / f"{number:012d}.jpg", ids.shape)
            save_ids(source / "stuffthingmaps_trainval2017" / folder / f"{number:012d}.png", ids)
    return source, ids


def test_coco_stuff(tmp_path: Path, measure: Callable[[Path], None]) -> None:
    source, ids = coco(tmp_path)
    maps = source / "stuffthingmaps_trainval2017" / "train2017"
    save_ids(maps / "000000000030.png", ids)
    save_picture(source / "train2017" / "000000000031.jpg", (4, 4))
    save_ids(maps / "000000000031.png", ids)
    save_picture(source / "train2017" / "000000000032.jpg", ids.shape)
    save_ids(maps / "000000000032.png", ids * 0 + 200)
    (source / "train2017" / "000000000033.jpg").write_bytes(b"no picture")
    save_ids(maps / "000000000033.png", ids)
    save_picture(source / "train2017" / "000000000034.jpg", ids.shape)
    (maps / "000000000034.png").write_bytes(b"no labels")
    prepared = prepare_benchmark("coco-stuff", source, tmp_path / "out", show_progress=False)
    assert prepared["validation"].num_pictures == prepared["train"].num_pictures == 2
    assert prepared["train"].left_out == {
        "without a picture": 1,
        "with a picture and labels of different sizes": 1,
        "with ids that the benchmark does not know": 1,
        "with a picture that cannot be read": 1,
        "with labels that cannot be read": 1,
    }
    for split in ("train", "validation"):
        for _, labels in read(tmp_path / "out", split):
            assert np.array_equal(labels, class_ids("coco-stuff", ids))
    # Pictures are the published files.
    row = load_dataset(str(tmp_path / "out"), split="train").with_format("arrow")[0]
    stored = row["image"][0].as_py()
    assert stored["bytes"] == (source / "train2017" / stored["path"]).read_bytes()
    assert (tmp_path / "out" / "class_names.txt").read_text().splitlines() == list(BENCHMARKS["coco-stuff"].class_names)
    assert "path: data/train-*" in (tmp_path / "out" / "README.md").read_text()
    measure(tmp_path / "out")


def test_pascal_context_59_paints_masks_in_order(tmp_path: Path, measure: Callable[[Path], None]) -> None:
    source = tmp_path / "VOC2010"
    first, second = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    first[:4], second[2:, :5] = 1, 1

    def run_lengths(mask: np.ndarray) -> dict[str, Any]:
        encoded = mask_api.encode(np.asfortranarray(mask))
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}

    images, segments = [], []
    names = [
        (CONTEXT_PICTURES[0], "val"),
        (CONTEXT_PICTURES[1], "val"),
        ("2008_000004", "train"),
        ("2008_999999", "val"),
    ]
    for name, phase in names:
        save_picture(source / "JPEGImages" / f"{name}.jpg")
        image_id = int(name.replace("_", ""))
        images.append(
            {"file_name": f"{name}.jpg", "image_id": image_id, "phase": phase, "height": SIZE[0], "width": SIZE[1]}
        )
        segments.append({"image_id": image_id, "category_id": 2, "segmentation": run_lengths(first)})
        segments.append({"image_id": image_id, "category_id": 458, "segmentation": run_lengths(second)})
    # Run lengths that are not packed, and a class that is none of the 59.
    segments.append(
        {
            "image_id": images[1]["image_id"],
            "category_id": 3,
            "segmentation": {"size": list(SIZE), "counts": [0, 6, SIZE[0] * SIZE[1] - 6]},
        }
    )
    (source / "trainval_merged.json").write_text(json.dumps({"images": images, "annos_segmentation": segments}))
    prepared = prepare_benchmark("pc-59", source, tmp_path / "out", show_progress=False)
    assert prepared["validation"].num_pictures == 2
    assert prepared["validation"].left_out == {"not on the list of validation pictures": 1, "without a picture": 5102}
    painted = np.zeros(SIZE, np.int64)
    painted[first > 0] = 2
    painted[second > 0] = 458
    rows = read(tmp_path / "out")
    assert np.array_equal(rows[0][1], class_ids("pc-59", painted))
    painted[:, 0] = 3
    assert np.array_equal(rows[1][1], class_ids("pc-59", painted))
    assert set(np.unique(rows[1][1])) == {0, 58, 255}
    measure(tmp_path / "out")


def test_pascal_context_459_keeps_sixteen_bits(tmp_path: Path, measure: Callable[[Path], None]) -> None:
    source = tmp_path / "VOC2010"
    ids = generator().choice([0, 1, 259, 459, 460], SIZE).astype(np.uint16)
    for name in CONTEXT_PICTURES:
        save_picture(source / "JPEGImages" / f"{name}.jpg")
        (source / "trainval").mkdir(exist_ok=True)
        savemat(source / "trainval" / f"{name}.mat", {"LabelMap": ids})
    (source / "trainval" / f"{CONTEXT_PICTURES[2]}.mat").write_bytes(b"no matrix")
    prepared = prepare_benchmark("pc-459", source, tmp_path / "out", show_progress=False)
    assert prepared["validation"].num_pictures == 2
    assert prepared["validation"].left_out["with labels that cannot be read"] == 1
    expected = ids - np.uint16(1)  # 0 becomes 65535
    expected[expected == 459] = 65535
    for _, labels in read(tmp_path / "out"):
        assert labels.dtype == np.uint16
        assert np.array_equal(labels, expected)
    measure(tmp_path / "out")


def voc(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    source = tmp_path / "VOCdevkit" / "VOC2012"
    maps = {
        "2007_000033": generator().choice([0, 1, 20, 255], SIZE),
        "2007_000042": np.zeros(SIZE, np.int64),
        "2007_000061": generator().choice([0, 7, 255], SIZE),
    }
    (source / "ImageSets" / "Segmentation").mkdir(parents=True)
    (source / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(maps) + "\n")
    for name, ids in maps.items():
        save_picture(source / "JPEGImages" / f"{name}.jpg")
        save_ids(source / "SegmentationClass" / f"{name}.png", ids, palette=name != "2007_000061")
    colours = voc_palette()[maps["2007_000061"]]
    Image.fromarray(colours).save(source / "SegmentationClass" / "2007_000061.png")
    return tmp_path, maps


def test_pascal_voc_with_and_without_background(tmp_path: Path, measure: Callable[[Path], None]) -> None:
    source, maps = voc(tmp_path)
    prepared = prepare_benchmark("pas-20", source, tmp_path / "without", show_progress=False)
    assert prepared["validation"].left_out == {"without an annotated pixel": 1}
    rows = read(tmp_path / "without")
    expected = [(ids.astype(np.uint8) - np.uint8(1)) for name, ids in maps.items() if name != "2007_000042"]
    for (_, labels), wanted in zip(rows, expected, strict=True):
        wanted[wanted == 254] = 255
        assert np.array_equal(labels, wanted)
    prepared = prepare_benchmark("pas-20b", source, tmp_path / "with", show_progress=False)
    assert prepared["validation"].num_pictures == 3
    for (_, labels), ids in zip(read(tmp_path / "with"), maps.values(), strict=True):
        assert np.array_equal(labels, np.select([ids == 255, ids == 0], [255, 20], ids - 1))
    measure(tmp_path / "without")


def test_simple_layouts(tmp_path: Path, measure: Callable[[Path], None]) -> None:
    save_picture(tmp_path / "ade" / "images" / "validation" / "ADE_val_00000001.jpg")
    ids = generator().integers(0, 151, SIZE)
    save_ids(tmp_path / "ade" / "annotations" / "validation" / "ADE_val_00000001.png", ids)
    prepare_benchmark("a-150", tmp_path / "ade", tmp_path / "a150", show_progress=False)
    assert np.array_equal(read(tmp_path / "a150")[0][1], class_ids("a-150", ids))

    save_picture(tmp_path / "city" / "leftImg8bit" / "val" / "ulm" / "ulm_1_2_leftImg8bit.png")
    ids = generator().integers(0, 34, SIZE)
    save_ids(tmp_path / "city" / "gtFine" / "val" / "ulm" / "ulm_1_2_gtFine_labelIds.png", ids)
    prepare_benchmark("cityscapes", tmp_path / "city", tmp_path / "cityscapes", show_progress=False)
    assert np.array_equal(read(tmp_path / "cityscapes")[0][1], class_ids("cityscapes", ids))

    for split in ("train", "validation"):
        save_picture(tmp_path / "own" / "images" / split / "a.jpg")
        save_ids(tmp_path / "own" / "annotations" / split / "a.png", ids % 2 * 255)
    (tmp_path / "own" / "class_names.txt").write_text("sky\nred car\n")
    prepare_benchmark("folder", tmp_path / "own", tmp_path / "folder", show_progress=False)
    assert np.array_equal(read(tmp_path / "folder", "train")[0][1], ids % 2 * 255)
    for name in ("a150", "cityscapes", "folder"):
        measure(tmp_path / name)


def test_a_stopped_run_goes_on_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = coco(tmp_path)
    write_shard = benchmark_preparation.write_shard
    written: list[str] = []

    def stopping(*arguments: Any) -> Any:
        if len(written) == 2:
            (arguments[2].with_name(f"{arguments[2].name}.partial")).write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(arguments[2].name)
        return write_shard(*arguments)

    def prepare(out: Path) -> Any:
        return prepare_benchmark("coco-stuff", source, out, pictures_per_shard=1, show_progress=False)

    out = tmp_path / "out"
    monkeypatch.setattr(benchmark_preparation, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare(out)
    assert not out.exists()
    monkeypatch.setattr(benchmark_preparation, "write_shard", lambda *a: written.append(a[2].name) or write_shard(*a))
    prepared = prepare(out)
    assert sorted(written) == sorted(
        f"{split}-{number:05d}-of-00002.parquet" for split in ("train", "validation") for number in range(2)
    )
    assert sorted(path.name for path in (out / "data").iterdir()) == sorted(written)
    assert not (tmp_path / "out.incomplete").exists()
    assert [len(read(out, split)) for split in ("train", "validation")] == [2, 2]
    # A folder that is whole is left as it is.
    assert prepare(out) == prepared
    assert len(written) == 4
    prepare(tmp_path / "at_once")
    for path in (out / "data").iterdir():
        assert path.read_bytes() == (tmp_path / "at_once" / "data" / path.name).read_bytes()
    with pytest.raises(ValueError, match="holds coco-stuff already"):
        prepare_benchmark("pc-59", source, out)


def test_the_help_names_every_benchmark() -> None:
    page = " ".join(CliRunner().invoke(app, ["prepare", "--help"]).stdout.split())
    assert f"{', '.join(BENCHMARKS)} (pictures" in page


def own_files(source: Path, maps: dict[str, list[list[int]]], names: str = "sky\ncat\n") -> Path:
    """Writes pictures and label maps of one's own, `SPLIT/NAME` each."""
    for name, ids in maps.items():
        save_picture(source / "images" / f"{name}.png", np.array(ids).shape)  # type: ignore[arg-type]
        save_ids(source / "annotations" / f"{name}.png", np.array(ids))
    (source / "class_names.txt").write_text(names)
    return source


def prepare_own(source: Path, out: Path) -> Any:
    return prepare_benchmark("folder", source, out, pictures_per_shard=1, show_progress=False)


def test_corrected_masks_are_looked_at_again(tmp_path: Path) -> None:
    source, out = own_files(tmp_path / "src", {"train/p": [[0, 0]], "validation/p": [[0, 9]]}), tmp_path / "out"
    with pytest.raises(ValueError, match="split validation .* ids that the benchmark does not know"):
        prepare_own(source, out)
    own_files(source, {"validation/p": [[0, 1]]})
    assert prepare_own(source, out)["validation"].num_pictures == 1
    assert read(out)[0][1].tolist() == [[0, 1]]
    # nothing changed: it is left as it is, also where only times differ
    before = (out / "benchmark.json").stat().st_mtime_ns
    (source / "annotations" / "train" / "p.png").touch()
    prepare_own(source, out)
    assert (out / "benchmark.json").stat().st_mtime_ns == before


def test_masks_that_count_from_one_are_reduced(tmp_path: Path) -> None:
    source = own_files(tmp_path / "src", {"train/p": [[0, 1, 2, 255]]})
    command = ["prepare", "folder", "--source", str(source), "--out", str(tmp_path / "out"), "--do_reduce_labels"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "out", "train")[0][1].tolist() == [[255, 0, 1, 255]]
    # What was made by one rule is not taken for what the other would make.
    with pytest.raises(ValueError, match="made of other files"):
        prepare_own(source, tmp_path / "out")
    own_files(source, {"train/p": [[3]]})
    result = CliRunner().invoke(app, [*command[:5], str(tmp_path / "again"), command[-1]])
    assert result.exit_code == 2 and "ids that the benchmark does not know" in result.stderr
    with pytest.raises(ValueError, match="the ids of cityscapes are known"):
        prepare_benchmark("cityscapes", source, tmp_path / "other", do_reduce_labels=True)


@pytest.mark.parametrize("change", ["mask", "picture", "more", "names", "fewer"])
def test_a_folder_that_was_made_of_other_files_is_not_taken_for_these(tmp_path: Path, change: str) -> None:
    source = own_files(tmp_path / "src", {"train/p": [[0, 0]], "train/q": [[1, 1]], "validation/p": [[0, 1]]})
    prepare_own(source, tmp_path / "out")
    if change == "mask":
        mask = source / "annotations" / "train" / "p.png"
        times = mask.stat()
        save_ids(mask, np.array([[0, 1]]))
        os.utime(mask, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "picture":
        Image.new("RGB", (2, 1), "red").save(source / "images" / "train" / "p.png")
    elif change == "more":
        own_files(source, {"train/r": [[1, 0]]})
    elif change == "fewer":
        (source / "annotations" / "train" / "q.png").unlink()
    else:
        own_files(source, {}, "sky\ndog\n")
    splits = "train, validation" if change == "names" else "train"
    with pytest.raises(ValueError, match=rf"was made of other files than .* \(split {splits}\)"):
        prepare_own(source, tmp_path / "out")
    prepare_own(source, tmp_path / "anew")
    if change == "mask":
        assert read(tmp_path / "anew", "train")[0][1].tolist() == [[0, 1]]


def test_only_unchanged_parts_of_a_stopped_run_are_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = {f"train/{name}": [[0, 1]] for name in "pqrs"} | {"validation/p": [[9, 9]]}
    source, out = own_files(tmp_path / "src", maps), tmp_path / "out"
    with pytest.raises(ValueError, match="split validation"):
        prepare_own(source, out)
    own_files(source, {"train/q": [[1, 1]], "validation/p": [[1, 0]]})
    # one that a full disk cut off
    (tmp_path / "out.incomplete" / "data" / "train-00002-of-00004.parquet").write_bytes(b"PAR1half")
    written: list[str] = []
    write_shard = benchmark_preparation.write_shard
    monkeypatch.setattr(benchmark_preparation, "write_shard", lambda *a: written.append(a[2].name) or write_shard(*a))
    prepare_own(source, out)
    assert written == [
        "train-00001-of-00004.parquet",
        "train-00002-of-00004.parquet",
        "validation-00000-of-00001.parquet",
    ]
    assert [ids.tolist() for _, ids in read(out, "train")] == [[[0, 1]], [[1, 1]], [[0, 1]], [[0, 1]]]


def test_a_full_disk_gets_one_sentence_and_what_is_whole_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = own_files(tmp_path / "src", {"train/p": [[0, 1]], "validation/p": [[1, 0]]})
    fsync, written = os.fsync, []

    def full_after_one(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_one)
    command = ["prepare", "folder", "--source", str(source), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr and "Traceback" not in result.output
    assert [path.name for path in (tmp_path / "out.incomplete" / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    monkeypatch.setattr(os, "fsync", fsync)
    assert CliRunner().invoke(app, command).exit_code == 0


def test_two_files_of_one_name_are_named_both(tmp_path: Path) -> None:
    source = own_files(tmp_path / "src", {"p0": [[0, 1]]})
    Image.new("RGB", (2, 1)).save(source / "images" / "p0.jpg")
    with pytest.raises(ValueError, match=r"both p0\.jpg and p0\.png"):
        prepare_own(source, tmp_path / "out")
    (source / "images" / "p0.jpg").rename(source / "images" / "._p0.jpg")  # what macOS leaves beside files
    save_ids(source / "annotations" / "p0.tif", np.array([[0, 0]]))
    with pytest.raises(ValueError, match=r"both p0\.png and p0\.tif"):
        prepare_own(source, tmp_path / "out")
    (source / "annotations" / "p0.tif").unlink()
    assert prepare_own(source, tmp_path / "out")["validation"].left_out == {}

    folder = tmp_path / "ADE20K" / "images"
    for year in ("2016", "2021"):
        save_picture(folder / year / "ADE_val_00000001.jpg")
        save_ade_code(folder / year / "ADE_val_00000001_seg.png", np.zeros(SIZE, np.int64))
    with pytest.raises(ValueError, match=r"2016/ADE_val_00000001\.jpg and .*2021/ADE_val_00000001\.jpg"):
        prepare_benchmark("a-847", tmp_path / "ADE20K", tmp_path / "a847", show_progress=False)


def test_pictures_outside_the_splits_are_not_forgotten(tmp_path: Path) -> None:
    source = own_files(tmp_path / "src", {"train/p": [[0, 1]], "lone": [[0, 1]]})
    with pytest.raises(ValueError, match=r"lone\.png lies beside the folders of the splits \(train\)"):
        prepare_own(source, tmp_path / "out")
    for kind in ("images", "annotations"):
        (source / kind / "lone.png").unlink()
    save_ids(source / "annotations" / "test" / "p.png", np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"annotations/test but no .*images/test"):
        prepare_own(source, tmp_path / "out")


def test_masks_of_0_and_255_are_said_to_be_ignored(tmp_path: Path) -> None:
    source = own_files(tmp_path / "src", {"p": [[0, 255, 255]]})
    result = CliRunner().invoke(app, ["prepare", "folder", "--source", str(source), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "validation: 67 % of the pixels are ignored; 1 of 2 classes occur nowhere (cat)" in result.stderr
    assert "--id_map" in result.stderr
    arguments = DatasetArguments(dataset=str(tmp_path / "out"), id_map='{"0": 0, "255": 1}')
    split = load_segmentation_splits(arguments, ["validation"])["validation"]
    assert split[0][1].tolist() == [[0, 1, 1]]
    own_files(source, {"p": [[0, 1, 1]]})
    assert describe_remarks(prepare_own(source, tmp_path / "fine")) == ""


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_an_empty_source_gets_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "nowhere"):
        result = CliRunner().invoke(app, ["prepare", name, "--source", str(source), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert result.stderr.startswith("fgaseg: ")
        assert result.stderr.strip().endswith(".")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = voc(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        prepare_benchmark("pas-20", source, tmp_path / "full")
    with pytest.raises(ValueError, match="no benchmark 'pas'"):
        prepare_benchmark("pas", source, tmp_path / "out")
    for path in source.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match="3 without a picture"):
        prepare_benchmark("pas-20", source, tmp_path / "out", show_progress=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'fgaseg_hf\[eval\]'"):
        prepare_benchmark("pas-20", source, tmp_path / "another")


def prepare_by_command(name: str, source: Path, out: Path) -> str:
    result = CliRunner().invoke(app, ["prepare", name, "--source", str(source), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_the_files_of_a_847_to_a_table(
    ade: tuple[Path, list[np.ndarray]],
    model: Path,
    evaluate: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, maps = ade
    for path in source.rglob("ADE_val_00000002*"):
        path.unlink()
    assert "validation: 2 of 2,000" in prepare_by_command("a-847", source, tmp_path / "a847")
    report = evaluate.main(["--model", str(model), "--benchmark", "a-847", "--dataset", str(tmp_path / "a847")])
    assert "mean_iou" in capsys.readouterr().out
    rows = report["result"]["classes"]
    assert len(rows) == len(report["labels"]["prompts"]) == 847
    published = np.concatenate([maps[0].ravel(), maps[2].ravel()])
    ids = BENCHMARKS["a-847"].published_ids
    assert ids is not None
    for class_id in (0, 300, 846):
        assert rows[class_id]["num_true_pixels"] == (published == ids[class_id]).sum() > 0
    assert report["result"]["num_pixels"] == np.isin(published, ids).sum()
    # Two of three classes that share the prompt "bag" never win.
    shared = [class_id for class_id, prompt in enumerate(report["labels"]["prompts"]) if prompt == "bag"]
    assert len(shared) == 3
    assert all(rows[class_id]["num_predicted_pixels"] == 0 for class_id in shared[1:])


def test_from_the_files_of_pas_20b_to_a_table(
    model: Path, evaluate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, maps = voc(tmp_path)
    prepare_by_command("pas-20b", source, tmp_path / "pas20b")
    # The folder says what it is: no --benchmark.
    arguments = ["--model", str(model), "--dataset", str(tmp_path / "pas20b")]
    report = evaluate.main(arguments)
    assert "background" in capsys.readouterr().out
    rows = {row["name"]: row for row in report["result"]["classes"]}
    assert len(rows) == 21
    assert len(report["labels"]["prompts"]) == 59
    published = np.concatenate([ids.ravel() for ids in maps.values()])
    assert rows["background"]["num_true_pixels"] == (published == 0).sum()
    assert report["result"]["num_pixels"] == (published != 255).sum()
    assert sum(row["num_predicted_pixels"] for row in rows.values()) == report["result"]["num_pixels"]

    # The rule by hand: argmax over the 59 prompts, then every prediction >= 20 is 20.
    prompts = list(BENCHMARKS["pas-20b"].prompts or ())
    predicted = 0
    network, processor = tiny_model(), tiny_processor()
    for picture, labels in read(tmp_path / "pas20b"):
        outputs = network(**processor(images=picture, text=prompts, return_tensors="pt"))
        (prediction,) = processor.post_process_semantic_segmentation(outputs, [picture.size[::-1]])
        predicted += int(((prediction.numpy() >= 20) & (labels != 255)).sum())
    assert rows["background"]["num_predicted_pixels"] == predicted

    with pytest.raises(ValueError, match="was prepared for pas-20b, not for pas-20"):
        evaluate.main([*arguments, "--benchmark", "pas-20"])
    with pytest.raises(ValueError, match="background rule"):
        evaluate.main([*arguments, "--vocabulary", "picture+1"])


def test_labels_of_sixteen_bits_are_tiff() -> None:
    labels = np.array([[0, 300], [846, 65535]], dtype=np.uint16)
    content = parquet_shards._encode(Image.fromarray(labels), "TIFF", compression="tiff_adobe_deflate")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), labels)


def test_a_missing_extra_is_not_a_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "2008_000001.mat"
    path.write_bytes(b"anything")

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is missing")

    monkeypatch.setattr(pascal_context, "import_extra", refuse)
    with pytest.raises(ValueError, match=r"scipy\.io is missing"):
        pascal_context._matlab_reader(path)()
