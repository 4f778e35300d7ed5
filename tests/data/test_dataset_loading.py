# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Data sets in the layouts that `datasets` reads, as the arguments say."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, Sequence
from datasets import Image as ImageFeature
from PIL import Image
from tiny_splits import NAMES, label_map, rows_of

from fgaseg_hf.data.augmentation import IGNORED_LABEL
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.data.segmentation_split import SegmentationSplit, UnreadableRow
from fgaseg_hf.data.split_rows import annotated_rows, load_split
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments


def test_hub_layout_and_saved_folders_give_the_same_rows(tmp_path: Path) -> None:
    rows = rows_of([label_map([[0, 300]], np.uint16), label_map([[2, 255]], np.uint16)])
    hub, saved, both = tmp_path / "hub", tmp_path / "saved", tmp_path / "both"
    (hub / "data").mkdir(parents=True)
    rows.to_parquet(hub / "data" / "train-00000-of-00001.parquet")
    rows.save_to_disk(str(saved))
    DatasetDict({"train": rows}).save_to_disk(str(both))
    for folder in (hub, saved, both):
        loaded = load_split(str(folder), "train")
        assert [np.asarray(row["annotation"]).tolist() for row in loaded] == [[[0, 300]], [[2, 255]]]
    with pytest.raises(ValueError, match="no split 'test', only train"):
        load_split(str(both), "test")
    with pytest.raises(ValueError, match="split .*test"):
        load_split(str(hub), "test")
    with pytest.raises(ValueError, match="no data set"):
        load_split(str(tmp_path / "nowhere"), "train")

    (hub / "class_names.txt").write_text("\n".join(f"class {number}" for number in range(301)))
    (tmp_path / "ids.json").write_text(json.dumps({"0": 0, "300": 1}))
    arguments = DatasetArguments(dataset=str(hub), id_map=str(tmp_path / "ids.json"), ignored_ids=[255])
    split = load_segmentation_splits(arguments, ["train"])["train"]
    assert split[0][1].tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="--dataset is missing"):
        load_segmentation_splits(DatasetArguments(), ["train"])


def save_split(folder: Path, label_maps: list[Any], split: str = "validation") -> str:
    """Writes a data set in the Hub's layout, with pictures of one colour."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pictures = [Image.new("RGB", (1, 1) if maps is None else maps.size) for maps in label_maps]
    rows_of(label_maps, pictures).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return str(folder)


def load(folder: str, **fields: Any) -> SegmentationSplit:
    return load_segmentation_splits(DatasetArguments(dataset=folder, **fields), ["validation"])["validation"]


def test_255_is_a_class_where_there_are_more_names(tmp_path: Path) -> None:
    folder = save_split(tmp_path, [label_map([[0, 255, 299]], np.uint16)])
    (tmp_path / "class_names.txt").write_text("\n".join(f"class {number}" for number in range(300)))
    assert load(folder)[0][1].tolist() == [[0, 255, 299]]
    split = SegmentationSplit(rows=load(folder).rows, class_names=load(folder).class_names)
    assert split[0][1].tolist() == [[0, 255, 299]]
    folder = save_split(tmp_path, [label_map([[0, 65535, 255]], np.uint16)])
    assert load(folder)[0][1].tolist() == [[0, IGNORED_LABEL, 255]]
    (tmp_path / "class_names.txt").write_text("\n".join(f"class {number}" for number in range(255)))
    folder = save_split(tmp_path, [label_map([[0, 255]])])
    assert load(folder)[0][1].tolist() == [[0, IGNORED_LABEL]]


def test_what_the_user_maps_is_a_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = save_split(tmp_path, [label_map([[0, 255, 255]])])
    (tmp_path / "class_names.txt").write_text("sky\ncat")
    assert load(folder).check_label_maps() == 1
    assert "67 % of the pixels are ignored; 1 of 2 classes occur nowhere (cat)." in caplog.text
    assert f"In the split 'validation' of {folder}: " in caplog.text
    caplog.clear()
    split = load(folder, id_map='{"0": 0, "255": 1}')
    assert split[0][1].tolist() == [[0, 1, 1]]
    assert split.check_label_maps() == 1
    assert not caplog.text
    # nothing is ignored: then 255 is an id that no name has
    with pytest.raises(ValueError, match="holds the id 255"):
        load(folder, ignored_ids=[]).label_map(0)
    (options,) = parse_arguments((DatasetArguments,), ["--dataset", folder, "--ignored_ids"])
    assert options.ignored_ids == []
    (options,) = parse_arguments((DatasetArguments,), ["--ignored_ids", "--dataset", folder])
    assert options.ignored_ids == []


def test_an_absent_class_is_not_said_of_a_part_of_the_maps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = save_split(tmp_path, [label_map([[0]]), label_map([[1]]), label_map([[0]])])
    (tmp_path / "class_names.txt").write_text("sky\ncat")
    assert load(folder).check_label_maps(2) == 2
    assert not caplog.text


@pytest.mark.parametrize("with_card", [False, True])
def test_a_folder_whose_maps_were_corrected_is_read_anew(tmp_path: Path, with_card: bool) -> None:
    (tmp_path / "class_names.txt").write_text("sky\ncat")
    if with_card:
        data_files = "  data_files:\n  - split: validation\n    path: data/validation-*\n"
        (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n{data_files}---\n")
    for class_id in (0, 1):
        folder = save_split(tmp_path, [label_map([[class_id]])])
        # copying tools keep a file's time
        os.utime(tmp_path / "data" / "validation-00000-of-00001.parquet", ns=(10**18, 10**18))
        assert load(folder)[0][1].tolist() == [[class_id]]


def test_rows_without_a_map_or_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "class_names.txt").write_text("sky\ncat")
    maps = [label_map([[1]]), None, label_map([[0]])]
    pictures = [Image.new("RGB", (1, 1)), Image.new("RGB", (1, 1)), None]
    (tmp_path / "data").mkdir()
    rows_of(maps, pictures).to_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet")  # type: ignore[arg-type]
    split = load(str(tmp_path))
    for row, what in ((1, "label map .*'annotation'"), (2, "picture .*'image'")):
        with pytest.raises(ValueError, match=rf"In the split 'validation' of .*Row {row} has no {what} is empty"):
            split[row]
    with pytest.raises(ValueError, match="Row 1 has no label map"):
        split.check_label_maps()
    kept = load(str(tmp_path), skip_unannotated=True)
    assert len(kept) == 1
    assert kept[0][1].tolist() == [[1]]
    assert "2 of 3 rows are left out" in caplog.text
    arguments = DatasetArguments(dataset=str(tmp_path), skip_unannotated=True)
    streamed = load_segmentation_splits(arguments, ["validation"], ["validation"])["validation"]
    assert len(list(streamed.rows)) == 1


def test_lists_without_a_map_are_left_out_too() -> None:
    features = Features({"image": ImageFeature(), "maps": Sequence(ImageFeature())})
    picture = Image.new("L", (1, 1))
    columns = {"image": [picture] * 3, "maps": [[picture], [], None]}
    rows = Dataset.from_dict(columns, features=features)
    split = SegmentationSplit(rows=rows, class_names=NAMES, annotation_column="maps[0]")
    for row in (1, 2):
        with pytest.raises(ValueError, match=f"Row {row} has no label map"):
            split.label_map(row)
    assert len(annotated_rows(rows, "image", "maps")) == 1


def test_a_row_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    (tmp_path / "class_names.txt").write_text("sky\ncat")
    (tmp_path / "data").mkdir()
    broken = {"bytes": b"no picture", "path": "a.png"}
    rows = Dataset.from_dict(
        {"image": [broken, broken], "annotation": [broken, broken]},
        features=Features({"image": ImageFeature(), "annotation": ImageFeature()}),
    )
    rows.to_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet")
    split = load(str(tmp_path))
    for read in (split.__getitem__, split.label_map):
        with pytest.raises(UnreadableRow, match=r"In the split 'validation' of .*Row 1 cannot be read"):
            read(1)
    (tmp_path / "data" / "validation-00000-of-00001.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="cannot be read") as error:
        load(str(tmp_path))
    assert "\n" not in str(error.value)


def test_label_maps_that_count_from_1(tmp_path: Path) -> None:
    folder = save_split(tmp_path, [label_map([[0, 1], [2, 255]])])
    (tmp_path / "class_names.txt").write_text("sky\ncat")
    split = load(folder, do_reduce_labels=True)
    _, ids = split[0]
    assert ids.tolist() == [[IGNORED_LABEL, 0], [1, IGNORED_LABEL]]
    with pytest.raises(ValueError, match="exclude each other"):
        load(folder, do_reduce_labels=True, id_map='{"1": 0}')
