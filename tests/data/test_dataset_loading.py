# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Data sets in the layouts that `datasets` reads, as the arguments say."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import DatasetDict
from tiny_splits import label_map, rows_of

from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits, load_split


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
