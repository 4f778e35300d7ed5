# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The contrastive training: what the captions say, that the same seed gives the same CLIP, and that it learns."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import train_clip
from PIL import Image
from tiny_tokenizer import tiny_tokenizer
from train_clip import ClipTrainingArguments, caption_of, draw_pairs, learning_rate_factor, main
from transformers import CLIPModel

from fgaseg_hf.conversion.clip_checkpoints import load_training_free
from fgaseg_hf.data.segmentation_split import SegmentationSplit

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}


def options(**fields: Any) -> ClipTrainingArguments:
    return ClipTrainingArguments(**{"output_dir": "somewhere", "tokenizer": "some", **fields})


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two halves of different colours, and the colours' names as classes."""
    folder = tmp_path_factory.mktemp("colours")
    random, rows = np.random.default_rng(0), []
    for _ in range(24):
        left, right = random.permutation(len(COLOURS))[:2]
        labels = np.full((32, 32), left, dtype=np.uint8)
        labels[:, 16:] = right
        picture = np.array(list(COLOURS.values()), dtype=np.uint8)[labels]
        rows.append({"image": Image.fromarray(picture), "annotation": Image.fromarray(labels)})
    split = datasets.Dataset.from_list(
        rows, features=datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    )
    datasets.DatasetDict({"train": split}).save_to_disk(folder)
    (folder / "class_names.txt").write_text("\n".join(COLOURS))
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def train(data_set: Path, output: Path, *words: str) -> CLIPModel:
    small = "--image_size 16 --patch_size 8 --hidden_size 64 --vision_layers 2 --text_layers 1 --projection_dim 16"
    arguments = ["--dataset", str(data_set), "--tokenizer", str(data_set / "tokenizer"), "--output_dir", str(output)]
    return main([*arguments, *small.split(), "--batch_size", "16", "--max_names", "1", *words])


def test_captions_name_what_is_there_and_nothing_else() -> None:
    names, random = ["sky", "car", "tree", "house"], np.random.default_rng(0)
    labels = np.zeros((10, 10), dtype=np.int64)
    labels[:3] = 2
    labels[9, 9] = 1  # one pixel in a hundred is not worth a name
    labels[5] = -1
    captions = {caption_of(labels, names, options(), random) for _ in range(60)}
    assert captions == {f"A photo of a {inside} in the scene" for inside in ("sky", "tree", "sky, tree", "tree, sky")}
    assert caption_of(np.full((4, 4), -1), names, options(), random) is None
    assert {caption_of(labels, names, options(max_names=1), random) for _ in range(60)} == {
        f"A photo of a {inside} in the scene" for inside in ("sky", "tree")
    }


def test_a_step_draws_the_same_pairs_each_time_and_others_than_the_next(data_set: Path) -> None:
    rows = datasets.load_from_disk(str(data_set))["train"]
    split = SegmentationSplit(rows=rows, class_names=list(COLOURS))
    chosen = options(image_size=16, batch_size=9)
    (pictures, captions), (again, captions_again), (_, others) = (draw_pairs(split, chosen, step) for step in (1, 1, 2))
    assert len(pictures) == len(captions) == 9
    assert captions == captions_again != others
    assert all(np.array_equal(one, other) for one, other in zip(pictures, again, strict=True))
    assert {picture.size for picture in pictures} == {(16, 16)}


def test_the_rate_rises_and_falls() -> None:
    rates = [learning_rate_factor(step, options(warmup_steps=4, max_steps=12)) for step in range(13)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[12] == 0


def test_it_learns_and_what_it_learns_segments_without_training(data_set: Path, tmp_path: Path) -> None:
    trained = train(data_set, tmp_path / "clip", "--max_steps", "60", "--warmup_steps", "5", "--logging_steps", "10")
    log = [json.loads(line) for line in (tmp_path / "clip" / train_clip.LOG_FILE).read_text().splitlines()]
    assert [row["step"] for row in log] == [10, 20, 30, 40, 50, 60]
    assert log[-1]["loss"] < log[0]["loss"] - 0.3
    loaded = CLIPModel.from_pretrained(tmp_path / "clip").state_dict()
    assert all(torch.equal(weights, loaded[name]) for name, weights in trained.state_dict().items())

    model, processor = load_training_free(tmp_path / "clip")
    correct = []
    for row in datasets.load_from_disk(str(data_set))["train"]:
        with torch.no_grad():
            outputs = model(**processor(images=row["image"], text=list(COLOURS), return_tensors="pt"))
        (label_map,) = processor.post_process_semantic_segmentation(outputs, [(32, 32)])
        correct.append((label_map.numpy() == np.array(row["annotation"])).mean())
    assert np.mean(correct) > 0.5, "a random answer among four names is right a quarter of the time"


def test_the_same_seed_gives_the_same_clip(data_set: Path, tmp_path: Path) -> None:
    one, same, other = (
        train(data_set, tmp_path / name, "--max_steps", "2", "--seed", seed).state_dict()
        for name, seed in (("one", "0"), ("same", "0"), ("other", "1"))
    )
    assert all(torch.equal(weights, same[name]) for name, weights in one.items())
    assert any(not torch.equal(weights, other[name]) for name, weights in one.items())


def test_bad_input_is_named(data_set: Path, tmp_path: Path) -> None:
    for fields, message in (
        ({"output_dir": None}, "--output_dir is missing"),
        ({"hidden_size": 100}, "multiple of 64"),
        ({"part_range": [0.5, 0.2]}, "--part_range"),
        ({"min_share": 1.0}, "--min_share"),
        ({"batch_size": 0}, "--batch_size is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            options(**fields)
    (tmp_path / "notes.txt").write_text("in the way")
    with pytest.raises(ValueError, match="name a new folder"):
        train(data_set, tmp_path, "--max_steps", "1")
