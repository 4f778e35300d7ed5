# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import scene_composition
import scenes
from PIL import Image
from scene_things import THINGS, draw_thing
from scene_vocabulary import (
    CLASS_IDS,
    CLASS_NAMES,
    COLOURED_NOUNS,
    COLOURS,
    HELD_OUT_PAIRS,
    NEW_PLACE_NAMES,
    NEW_PLACES,
    PATTERNED_NOUNS,
    PATTERNS,
    SEEN_NAMES,
    TRAINING_PLACES,
    UNCOLOURED_NOUNS,
    UNSEEN_NAMES,
)

SIZE = 96
NUM_SCENES = 60


@pytest.fixture(scope="module")
def label_maps() -> dict[str, list[np.ndarray]]:
    return {
        split: [scenes.generate_scene(seed, split, SIZE)[1] for seed in range(NUM_SCENES)] for split in scenes.SPLITS
    }


def names_of(maps: list[np.ndarray]) -> set[str]:
    return {CLASS_NAMES[index] for labels in maps for index in np.unique(labels)}


def test_vocabulary_is_as_large_as_promised():
    assert len(COLOURED_NOUNS) + len(UNCOLOURED_NOUNS) >= 40
    assert len(COLOURS) >= 12
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES))
    assert set(THINGS) >= set(COLOURED_NOUNS)


def test_a_fifth_of_the_pairs_is_held_out_evenly():
    num_pairs = len(COLOURED_NOUNS) * len(COLOURS) + len(PATTERNED_NOUNS) * len(PATTERNS)
    assert len(HELD_OUT_PAIRS) == len(UNSEEN_NAMES)
    assert abs(len(HELD_OUT_PAIRS) - num_pairs / 5) <= 1
    for noun in COLOURED_NOUNS:
        assert 2 <= sum((colour, noun) in HELD_OUT_PAIRS for colour in COLOURS) <= 3
    for colour in COLOURS:
        assert 5 <= sum((colour, noun) in HELD_OUT_PAIRS for noun in COLOURED_NOUNS) <= 6
    for pattern in PATTERNS:
        assert 1 <= sum((pattern, noun) in HELD_OUT_PAIRS for noun in PATTERNED_NOUNS) <= 2
    assert set(SEEN_NAMES) | set(UNSEEN_NAMES) == set(CLASS_NAMES)
    assert not set(SEEN_NAMES) & set(UNSEEN_NAMES)


def test_new_places_are_new():
    for noun, places in NEW_PLACES.items():
        assert not places & TRAINING_PLACES[noun]
    assert set(NEW_PLACE_NAMES) <= set(SEEN_NAMES)


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_same_seed_gives_the_same_bytes(split):
    first, first_labels = scenes.generate_scene(5, split, SIZE)
    second, second_labels = scenes.generate_scene(5, split, SIZE)
    other, _ = scenes.generate_scene(6, split, SIZE)
    assert first.tobytes() == second.tobytes() != other.tobytes()
    assert first_labels.tobytes() == second_labels.tobytes()


def test_splits_differ():
    pictures = {scenes.generate_scene(5, split, SIZE)[0].tobytes() for split in scenes.SPLITS}
    assert len(pictures) == len(scenes.SPLITS)


@pytest.mark.parametrize("size", [64, 97, 224])
def test_picture_and_labels_have_the_size(size):
    picture, labels = scenes.generate_scene(0, "train", size)
    assert picture.mode == "RGB" and picture.size == (size, size)
    assert labels.shape == (size, size) and labels.dtype == np.uint16


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_every_class_is_known_and_large_enough(split, label_maps):
    for labels in label_maps[split]:
        ids, counts = np.unique(labels, return_counts=True)
        assert ids.max() < len(CLASS_NAMES)
        assert counts.min() >= 60 * (SIZE / 224) ** 2
        assert len(ids) >= 3


@pytest.mark.parametrize("split", ["train", "validation_seen"])
def test_held_out_pairs_are_never_shown_in_training(split, label_maps):
    assert not names_of(label_maps[split]) & set(UNSEEN_NAMES)


def test_unseen_split_shows_mostly_held_out_pairs(label_maps):
    names = [name for labels in label_maps["validation_unseen"] for name in names_of([labels]) if " " in name]
    unseen = sum(name in UNSEEN_NAMES for name in names)
    assert unseen > 0.5 * len(names)
    assert any(name in NEW_PLACE_NAMES for name in names)


def test_training_shows_every_noun_colour_and_pattern(label_maps):
    words = {word for name in names_of(label_maps["train"]) for word in name.split()}
    assert words >= {*COLOURED_NOUNS, *COLOURS, *PATTERNS}
    seen_by_noun = {noun: [name for name in SEEN_NAMES if name.endswith(f" {noun}")] for noun in COLOURED_NOUNS}
    assert all(len(names) >= 9 for names in seen_by_noun.values())


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_things_are_asked_for_in_the_places_of_their_split(split):
    rng = np.random.default_rng(0)
    for _ in range(400):
        wish = scene_composition._draw_wish(split, [], rng)
        if wish.noun not in NEW_PLACES:
            continue
        is_new = split == "validation_unseen" and (wish.adjective, wish.noun) not in HELD_OUT_PAIRS
        assert wish.places == (NEW_PLACES if is_new else TRAINING_PLACES)[wish.noun]


@pytest.mark.parametrize("noun", COLOURED_NOUNS)
def test_colours_of_a_noun_can_be_told_apart(noun):
    means = {}
    for colour in COLOURS:
        patch, _, silhouette = draw_thing(noun, colour, 60, (0.0, -1.0), np.random.default_rng(0))
        assert 0.2 < silhouette.mean() <= 1
        means[colour] = np.asarray(patch)[silhouette].mean(axis=0)
    distances = [np.abs(means[a] - means[b]).max() for a in COLOURS for b in COLOURS if a < b]
    assert min(distances) > 15


def test_patterns_show_two_colours():
    for pattern in PATTERNS:
        patch, _, silhouette = draw_thing("ball", pattern, 80, (0.0, -1.0), np.random.default_rng(3))
        plain, _, _ = draw_thing("ball", "red", 80, (0.0, -1.0), np.random.default_rng(3))
        assert np.asarray(patch)[silhouette].std(axis=0).max() > 1.5 * np.asarray(plain)[silhouette].std(axis=0).max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "test", 96), "split"),
        ((0, "train", 16), "size"),
        ((0, "train", 96.0), "size"),
        ((-1, "train", 96), "seed"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenes.generate_scene(*arguments)


def test_endless_data_set_repeats_itself_and_can_be_shared():
    data = scenes.scenes_dataset("train", seed=3, size=64, num_streams=2)
    first, again = list(data.take(3)), list(data.take(3))
    for row, same in zip(first, again, strict=True):
        assert np.array_equal(np.asarray(row["image"]), np.asarray(same["image"]))
        assert np.asarray(row["annotation"]).dtype == np.uint16
    assert data.num_shards == 2
    shares = [next(iter(data.shard(num_shards=2, index=index)))["image"].tobytes() for index in range(2)]
    assert shares[0] != shares[1]
    with pytest.raises(ValueError, match="split"):
        scenes.scenes_dataset("test")


def test_written_data_set_comes_back_whole(tmp_path: Path):
    out = tmp_path / "scenes"
    assert scenes.main(["--out", str(out), "--num_train", "4", "--num_validation", "1", "--size", "64"]) == 0
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        "train": 4,
        "validation_seen": 1,
        "validation_unseen": 1,
    }
    assert any(np.asarray(row["annotation"]).max() > 255 for row in loaded["train"])
    for index, row in enumerate(loaded["train"]):
        picture, labels = scenes.generate_scene(index, "train", 64)
        assert np.array_equal(np.asarray(row["annotation"]), labels)
        assert np.asarray(row["annotation"]).dtype == np.uint16
        difference = np.abs(np.asarray(row["image"], dtype=float) - np.asarray(picture, dtype=float))
        assert row["image"].mode == "RGB" and difference.mean() < 4
    names = (out / "class_names.txt").read_text(encoding="utf-8").splitlines()
    assert tuple(names) == CLASS_NAMES and CLASS_IDS[names[7]] == 7
    groups = json.loads((out / "class_groups.json").read_text(encoding="utf-8"))
    assert set(groups) == {"seen", "unseen", "new_places"}
    assert set(groups["unseen"]) == set(UNSEEN_NAMES)
    assert isinstance(loaded["train"][0]["image"], Image.Image)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "10"],
        ["--num_train", "-1"],
        ["--num_train", "0", "--num_validation", "0"],
        ["--seed", "-4"],
        ["--num_workers", "0"],
    ],
)
def test_command_line_refuses_bad_input(arguments, tmp_path, capsys):
    assert scenes.main(["--out", str(tmp_path / "new"), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_command_line_does_not_write_over_a_data_set(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"")
    assert scenes.main(["--out", str(tmp_path), "--num_train", "1"]) == 2
    assert "already holds" in capsys.readouterr().err


def test_other_scenes_in_the_same_folder_are_read_anew(tmp_path: Path) -> None:
    # `datasets` keeps what it read under a key made of the card and the names of the files
    first_bytes = []
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "scenes", ignore_errors=True)
        scenes.write_scenes(tmp_path / "scenes", {"train": 2}, seed=seed, size=64)
        rows = datasets.load_dataset(str(tmp_path / "scenes"), split="train", cache_dir=str(tmp_path / "cache"))
        first_bytes.append(np.asarray(rows[0]["image"]).tobytes())
    assert first_bytes[0] != first_bytes[1]
    card = (tmp_path / "scenes" / "README.md").read_text()
    shutil.rmtree(tmp_path / "scenes")
    scenes.write_scenes(tmp_path / "scenes", {"train": 2}, seed=1, size=64)
    assert (tmp_path / "scenes" / "README.md").read_text() == card
