# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a batch holds: from rows of a data set, and from prepared samples."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import IMAGE_SIZE, tiny_model, tiny_processor

from fgaseg_hf.data.data_collator import FGASegDataCollator

NAMES = ["sky", "red car", "blue car", "red house", "tree", "water"]


@pytest.mark.parametrize("templates", [None, ["a {}", "the big {}"]])
def test_collator_brings_the_prompts_that_the_batch_needs(templates: list[str] | None) -> None:
    processor = tiny_processor(prompt_templates=templates)
    encoded = dict(processor(text=NAMES, return_tensors="pt"))
    collate = FGASegDataCollator(processor, NAMES)
    sample = {"pixel_values": torch.zeros(3, 4, 4), "labels": torch.zeros(4, 4, dtype=torch.long)}

    batch = collate([sample, sample])
    assert next(iter(batch)) == "pixel_values"
    assert "class_indices" not in batch
    assert torch.equal(batch["input_ids"], encoded["input_ids"])

    batch = collate(
        [sample | {"class_indices": torch.tensor([4, 0])}, sample | {"class_indices": torch.tensor([0, 1])}]
    )
    used = [NAMES[row] for row in (0, 1, 4)]
    expected = processor(text=used, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert batch["class_indices"].tolist() == [[2, 0], [0, 1]]


def test_weights_follow_the_classes_of_each_picture() -> None:
    weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    collate = FGASegDataCollator(tiny_processor(), NAMES, class_weights=weights)
    sample = {"pixel_values": torch.zeros(3, 4, 4), "labels": torch.zeros(4, 4, dtype=torch.long)}
    assert collate([sample, sample])["class_weights"].tolist() == weights
    own = [sample | {"class_indices": torch.tensor(ids)} for ids in ([4, 0], [0, 1])]
    assert collate(own)["class_weights"].tolist() == [[5.0, 1.0], [1.0, 2.0]]
    with pytest.raises(ValueError, match="There are 2 class weights for 6 class names"):
        FGASegDataCollator(tiny_processor(), NAMES, class_weights=[1.0, 2.0])


def row(size: tuple[int, int], ids: np.ndarray | None = None) -> dict[str, object]:
    if ids is None:
        ids = np.random.default_rng(0).integers(0, len(NAMES), size[::-1])
        ids[:3] = 60_000
    return {"image": Image.new("RGB", size, (10, 200, 30)), "annotation": Image.fromarray(ids.astype(np.uint16))}


def test_rows_become_what_the_processor_makes_of_them() -> None:
    processor = tiny_processor()
    rows = [row((40, 20)), row((17, 33))]
    collate = FGASegDataCollator(processor, NAMES, ignored_ids=(60_000,))
    batch = collate(rows)
    assert list(batch) == ["pixel_values", "labels", "input_ids", "attention_mask"]
    assert batch["pixel_values"].shape == (2, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert batch["labels"].shape == (2, IMAGE_SIZE, IMAGE_SIZE)
    assert set(batch["labels"].unique().tolist()) <= {*range(6), 255}
    expected = processor(images=[entry["image"] for entry in rows], return_tensors="pt")
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])
    assert tiny_model()(**batch).loss.isfinite()

    label_maps = collate.for_evaluation()(rows)["label_maps"]
    assert [tuple(label_map.shape) for label_map in label_maps] == [(20, 40), (33, 17)]
    for label_map, entry in zip(label_maps, rows, strict=True):
        ids = np.asarray(entry["annotation"]).astype(int)
        assert label_map.tolist() == np.where(ids == 60_000, 255, ids).tolist()
    assert not collate.keep_label_maps


def test_rows_that_do_not_fit_are_refused() -> None:
    collate = FGASegDataCollator(tiny_processor(), NAMES)
    with pytest.raises(ValueError, match=r"holds the id 6, but there are 6 class names \(ids 0 to 5\)"):
        collate([row((2, 1), np.array([[0, 6]]))])
    with pytest.raises(ValueError, match="no 'annotation', only image, mask"):
        collate([{"image": Image.new("RGB", (2, 1)), "mask": None}])
    with pytest.raises(ValueError, match="label 3 cannot mean 'ignored'"):
        FGASegDataCollator(tiny_processor(), NAMES, ignore_index=3)([row((2, 1))])


def test_a_row_without_a_map_gets_one_sentence() -> None:
    collate = FGASegDataCollator(tiny_processor(), NAMES)
    row = {"image": Image.new("RGB", (8, 8)), "annotation": Image.new("L", (8, 8))}
    for column in row:
        with pytest.raises(ValueError, match=f"Sample 1 of a batch has nothing in its column '{column}'"):
            collate([row, row | {column: None}])


def test_255_is_a_class_where_there_are_more_names() -> None:
    names = [f"thing {number}" for number in range(300)]
    collate = FGASegDataCollator(tiny_processor(), names, ignore_index=-100)
    label_map = Image.fromarray(np.array([[0, 255], [299, 65535]], dtype=np.uint16))
    assert collate._to_labels(label_map).tolist() == [[0, 255], [299, -100]]
    with pytest.raises(ValueError, match="`ignored_ids` is 255"):
        FGASegDataCollator(tiny_processor(), NAMES, ignored_ids=255)  # type: ignore[arg-type]


def test_an_image_processor_that_reduces_labels_is_heard_once() -> None:
    processor = tiny_processor()
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    label_map = np.full((32, 32), 2, dtype=np.uint8)
    label_map[0], label_map[1] = 0, 255
    row = {"image": picture, "annotation": label_map}
    processor.image_processor.do_reduce_labels = True
    labels = FGASegDataCollator(processor, ["sky", "tree"], keep_label_maps=True)([row])["labels"]
    assert labels[0, :3, 0].tolist() == [255, 255, 1]
    label_map[5, 5] = 3
    with pytest.raises(ValueError, match="holds the id 2"):
        FGASegDataCollator(processor, ["sky", "tree"])([row])
