# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Loading of data sets, ids, class names, vocabulary sampling, and who trains on which sample."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, Features
from datasets import Image as ImageFeature
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgaseg_hf.data.augmentation import IGNORED_LABEL, AugmentationConfig
from fgaseg_hf.data.segmentation_data import (
    DatasetArguments,
    SegmentationSplit,
    ShardedBatches,
    TrainingSamples,
    VocabularySampler,
    load_class_names,
    load_id_map,
    load_segmentation_splits,
    load_split,
    spread_evenly,
)

NAMES = ["sky", "red car", "blue car", "red house", "tree", "water"]


def rows_of(label_maps: list[Image.Image], pictures: list[Image.Image] | None = None) -> Dataset:
    pictures = pictures or [Image.new("RGB", label_map.size, (9 * n, 0, 0)) for n, label_map in enumerate(label_maps)]
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    return Dataset.from_dict({"image": pictures, "annotation": label_maps}, features=features)


def split_of(label_maps: list[Image.Image], **fields: object) -> SegmentationSplit:
    return SegmentationSplit(rows=rows_of(label_maps), class_names=NAMES, **fields)  # type: ignore[arg-type]


def label_map(ids: list[list[int]], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(ids, dtype=dtype))


def samples_of(split: SegmentationSplit, **keywords: object) -> TrainingSamples:
    return TrainingSamples(
        split,
        AugmentationConfig(crop_size=(4, 4)),
        **{"seed": 3, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, **keywords},  # type: ignore[arg-type]
    )


def test_ids_of_every_depth_and_palette_indices_come_whole() -> None:
    palette = label_map([[0, 5], [255, 1]])
    palette.putpalette([200, 10, 10, 5, 5, 5, 77, 0, 0] + [0] * 759)
    assert palette.mode == "P"
    maps = [label_map([[0, 5], [255, 1]]), label_map([[0, 5], [255, 1]], np.uint16), palette]
    split = split_of(maps)
    for index in range(3):
        picture, labels = split[index]
        assert picture.mode == "RGB"
        assert labels.tolist() == [[0, 5], [IGNORED_LABEL, 1]]
        assert split.label_map(index).tolist() == labels.tolist()


def test_ids_are_mapped_and_the_rest_is_ignored() -> None:
    split = split_of([label_map([[7, 900], [3, 901]], np.uint16)], id_map={7: 0, 900: 4})
    assert split[0][1].tolist() == [[0, 4], [IGNORED_LABEL, IGNORED_LABEL]]
    # ignored ids win over the map
    split = split_of([label_map([[7, 900]], np.uint16)], id_map={7: 0, 900: 4}, ignored_ids=(7,))
    assert split[0][1].tolist() == [[IGNORED_LABEL, 4]]
    with pytest.raises(ValueError, match="leads to the class 6"):
        split_of([label_map([[0]])], id_map={0: 6})


def test_wrong_ids_are_found_before_training() -> None:
    good, bad = label_map([[0, 1]]), label_map([[0, 6]])
    split = split_of([good, good, bad])
    with pytest.raises(ValueError, match=r"row 2 holds the id 6, but there are 6 class names \(ids 0 to 5\)"):
        split.check_label_maps()
    with pytest.raises(ValueError, match="row 2"):
        split[2]
    assert split_of([good, good, bad], ignored_ids=(6,)).check_label_maps() == 3
    assert split_of([good, good, good]).check_label_maps(2) == 2


def test_bad_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="row 0 cannot be read. It is a colour picture"):
        split_of([Image.new("RGB", (2, 2))])[0]
    rows = rows_of([label_map([[0, 1]])], [Image.new("RGB", (3, 1))])
    with pytest.raises(ValueError, match="3 x 1 pixels but a label map of 2 x 1"):
        SegmentationSplit(rows=rows, class_names=NAMES)[0]
    with pytest.raises(ValueError, match="no column 'mask', only image, annotation"):
        split_of([label_map([[0]])], annotation_column="mask")


def test_class_names_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--class_names"):
        load_class_names(str(tmp_path))
    path = tmp_path / "class_names.txt"
    path.write_text("sky\nroad, street\n\n")
    assert load_class_names(str(tmp_path)) == ["sky", "road, street"]
    assert load_class_names("somewhere/else", str(path)) == ["sky", "road, street"]
    path.write_text("sky\n\nroad")
    with pytest.raises(ValueError, match=r"empty line \(line 2\)"):
        load_class_names(str(tmp_path))
    path.write_text("sky\nsky")
    with pytest.raises(ValueError, match="'sky' twice"):
        load_class_names(str(tmp_path))


def test_id_map_file(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    path.write_text('{"7": 0}')
    assert load_id_map(str(path)) == {7: 0}
    assert load_id_map(None) is None
    path.write_text("[7]")
    with pytest.raises(ValueError, match="JSON object"):
        load_id_map(str(path))


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


@settings(deadline=None, max_examples=50)
@given(present=st.sets(st.integers(0, 5)), size=st.integers(1, 6), seed=st.integers(0, 99), held_out=st.booleans())
def test_every_picture_gets_its_own_classes_and_others(present: set[int], size: int, seed: int, held_out: bool) -> None:
    names = [*NAMES, "green car", "green house"]
    sampler = VocabularySampler(names, size, ["green car", "green house"] if held_out else [])
    chosen = sampler(np.array(sorted(present), dtype=np.int64), np.random.default_rng(seed))
    assert chosen.dtype == np.int64
    assert len(chosen) == len(set(chosen.tolist()))
    own = set(chosen.tolist()) & present
    assert len(chosen) == size
    if len(present) <= sampler.max_own_classes:
        assert own == present
    else:
        num_others = len(names) - len(sampler.held_out) - len(present)
        assert len(own) == max(sampler.max_own_classes, size - num_others)
    if held_out:
        assert not {6, 7} & set(chosen.tolist())


def test_half_of_the_other_classes_share_a_word() -> None:
    names = ["red car", "blue car", "red house", *(f"thing{number}" for number in range(40))]
    sampler = VocabularySampler(names, 5)
    for seed in range(20):
        chosen = set(sampler(np.array([0]), np.random.default_rng(seed)).tolist())
        assert {0, 1, 2} <= chosen
        assert len(chosen) == 5
    with pytest.raises(ValueError, match="between 1 and the 43"):
        VocabularySampler(names, 44)
    with pytest.raises(ValueError, match="'purple'"):
        VocabularySampler(names, 4, held_out=["purple"])


def test_labels_become_indices_into_the_pictures_classes() -> None:
    split = split_of([label_map([[0, 1, 3, 255]] * 4)])
    samples = samples_of(split, vocabulary=VocabularySampler(NAMES, 4), ignore_index=255)
    for number in range(20):
        sample = samples[number]
        classes, labels = sample["class_indices"], sample["labels"]
        found = {int(classes[label]) for label in labels.unique() if label != 255}
        assert found == {0, 1, 3}
        assert (labels == 255).sum() == 4
        assert sample["pixel_values"].shape == (3, 4, 4)
        assert sample["pixel_values"].dtype == torch.float32


@pytest.mark.parametrize("num_present", [1, 8, 9, 10, 11])
@pytest.mark.parametrize("num_sampled", [8, 10, 11])
def test_every_picture_gets_as_many_classes(num_present: int, num_sampled: int) -> None:
    sampler = VocabularySampler([f"thing {number}" for number in range(11)], num_sampled)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        classes = sampler(generator.permutation(11)[:num_present], generator)
        assert len(set(classes.tolist())) == len(classes) == num_sampled


def test_a_held_out_name_is_not_asked_for_even_where_it_is_to_be_seen() -> None:
    sampler = VocabularySampler(NAMES, 3, held_out=["red car"])
    for seed in range(20):
        assert 1 not in sampler(np.array([0, 1, 2]), np.random.default_rng(seed))


def test_samples_are_a_function_of_seed_and_number() -> None:
    generator = np.random.default_rng(0)
    split = split_of([Image.fromarray(generator.integers(0, 6, (9, 7)).astype(np.uint8)) for _ in range(5)])
    samples, again, other = samples_of(split), samples_of(split), samples_of(split, seed=4)
    numbers = list(range(15))
    in_order = [samples[number] for number in numbers]
    backwards = [again[number] for number in reversed(numbers)][::-1]
    for first, second in zip(in_order, backwards, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(samples[number]["labels"], other[number]["labels"]) for number in numbers)
    # every picture once an epoch, and each epoch in an order of its own
    epochs = [[samples.picture_index(5 * epoch + place) for place in range(5)] for epoch in range(6)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_stride_keeps_fewer_labels_of_the_same_picture() -> None:
    split = split_of([label_map([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 0]])])
    whole, thinned = samples_of(split)[2], samples_of(split, label_stride=2)[2]
    assert torch.equal(thinned["labels"], whole["labels"][::2, ::2])
    assert torch.equal(thinned["pixel_values"], whole["pixel_values"])
    with pytest.raises(ValueError, match="--label_stride"):
        samples_of(split, label_stride=0)


def test_an_ignore_index_that_is_a_class_is_refused() -> None:
    split = split_of([label_map([[0]])])
    with pytest.raises(ValueError, match="semantic_loss_ignore_index"):
        samples_of(split, ignore_index=5)
    assert samples_of(split, ignore_index=-100)[0]["labels"].min() >= -100
    with pytest.raises(ValueError, match="empty"):
        samples_of(SegmentationSplit(rows=split.rows.select([]), class_names=NAMES))


@settings(deadline=None, max_examples=40)
@given(parts=st.integers(1, 3), processes=st.integers(1, 3), size=st.integers(1, 3), first=st.integers(0, 3))
def test_processes_share_each_step_without_gap_or_overlap(parts: int, processes: int, size: int, first: int) -> None:
    batch_size = parts * processes * size
    shards = [
        list(
            ShardedBatches(
                batch_size,
                first,
                5,
                gradient_accumulation_steps=parts,
                process_index=process,
                num_processes=processes,
            )
        )
        for process in range(processes)
    ]
    assert all(len(shard) == (5 - first) * parts and {len(batch) for batch in shard} <= {size} for shard in shards)
    together = [number for batches in zip(*shards, strict=True) for batch in batches for number in batch]
    assert together == list(range(first * batch_size, 5 * batch_size))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of processes x accumulation steps = 2 x 3"):
        ShardedBatches(4, 0, 5, gradient_accumulation_steps=3, num_processes=2)


def test_spread_evenly() -> None:
    assert spread_evenly(3, 11) == [0, 5, 10]
    assert spread_evenly(20, 3) == [0, 1, 2]
    assert spread_evenly(0, 3) == []
    assert spread_evenly(1, 3) == [0]
