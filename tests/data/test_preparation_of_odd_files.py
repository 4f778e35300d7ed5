# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg prepare folder` on generated files: what is good comes back whole, what is odd gets one sentence."""

import io
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgaseg_hf.data.benchmark_preparation import PreparedSplit, prepare_benchmark

NUM_CASES = 500


def encoded(pixels: np.ndarray, picture_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, picture_format)
    return buffer.getvalue()


def prepare(source: Path, out: Path) -> dict[str, PreparedSplit]:
    return prepare_benchmark("folder", source, out, pictures_per_shard=2, show_progress=False)


def stored_maps(out: Path, split: str) -> list[list[list[int]]]:
    shards = sorted((out / "data").glob(f"{split}-*.parquet"))
    rows = [row for shard in shards for row in pyarrow.parquet.read_table(shard).to_pylist()]
    return [np.asarray(Image.open(io.BytesIO(row["annotation"]["bytes"]))).tolist() for row in rows]


@settings(deadline=None, max_examples=10)
@given(
    num_names=st.sampled_from([1, 2, 255, 256, 300]),
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_good_maps_come_back_whole(num_names: int, sizes: list[tuple[int, int]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    unlabelled = 255 if num_names <= 255 else 65535
    expected = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        for kind in ("images", "annotations"):
            (source / kind / "train").mkdir(parents=True)
        for number, size in enumerate(sizes):
            ids = generator.integers(0, num_names, size)
            ids[generator.random(size) < 0.3] = unlabelled
            expected.append(ids.tolist())
            name = f"{number:02d}.png"
            (source / "images" / "train" / name).write_bytes(encoded(np.zeros((*size, 3), np.uint8)))
            label_type = np.uint8 if num_names <= 255 else np.uint16
            (source / "annotations" / "train" / name).write_bytes(encoded(ids.astype(label_type)))
        (source / "class_names.txt").write_text("\n".join(f"thing {number}" for number in range(num_names)))
        prepared = prepare(source, Path(folder) / "out")["train"]
        assert stored_maps(Path(folder) / "out", "train") == expected
        assert prepared.num_pictures == len(sizes) and not prepared.left_out
        share = np.mean(np.concatenate([np.ravel(ids) for ids in expected]) == unlabelled)
        assert ("% of the pixels are ignored" in (prepared.remark or "")) == (share > 0.5)


def odd_bytes(chance: random.Random) -> bytes:
    """Returns a picture, a broken one, or something else."""
    size = (chance.randint(1, 4), chance.randint(1, 4))
    kind = chance.randrange(9)
    if kind == 0:
        return encoded(np.full(size, chance.choice([0, 1, 2, 255]), np.uint8))
    if kind == 1:
        return encoded(np.zeros((*size, 3), np.uint8), chance.choice(["PNG", "JPEG", "BMP", "TIFF"]))
    if kind == 2:
        return encoded(np.full(size, chance.choice([0, 1, 300, 65535]), np.uint16))
    if kind == 3:
        content = encoded(np.zeros(size, np.uint8))
        return content[: chance.randrange(len(content))]
    if kind == 4:
        content = bytearray(encoded(np.zeros((*size, 3), np.uint8)))
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        return bytes(content)
    if kind == 5:
        return chance.randbytes(chance.randint(0, 80))
    if kind == 6:
        return encoded(np.zeros((*size, 4), np.uint8))
    return encoded(np.zeros((2, 2), np.uint8))


def odd_names(chance: random.Random) -> bytes:
    """Returns a list of class names as people save it, or something else."""
    text = "\n".join(chance.sample(["sky", "cat", "Sky", "", "Straße", "天空", " tree ", "a, b", "x" * 5000], 3))
    if chance.random() < 0.7:
        text = "sky\ncat"
    content = text.encode(chance.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16"]))
    return chance.randbytes(20) if chance.random() < 0.05 else content


def odd_source(folder: Path, chance: random.Random) -> Path:
    """Makes a folder of pictures and label maps in which some things are as they should not be."""
    splits = chance.choice([[""], [""], ["train"], ["train", "validation"]])
    for split in splits:
        for kind in ("images", "annotations"):
            if chance.random() < 0.95:
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number in range(chance.randint(0, 3)):
            name = chance.choice([f"p{number}", f"p{number}", f"p{number}", "ä ö", "._p", "-", "p" * 100])
            for kind in ("images", "annotations"):
                for suffix in chance.choice([[".png"]] * 9 + [[".jpg"], [".PNG", ".tif"], [".txt"]]):
                    path = folder / kind / split / f"{name}{suffix}"
                    if not path.parent.is_dir() or path.is_dir():
                        continue
                    if chance.random() < 0.95:
                        content = encoded(np.zeros((2, 2), np.uint8)) if chance.random() < 0.7 else odd_bytes(chance)
                        path.write_bytes(content)
                    elif not path.exists():
                        path.mkdir()
    if chance.random() < 0.97:
        folder.mkdir(exist_ok=True)
        (folder / "class_names.txt").write_bytes(odd_names(chance))
    return folder


def outcomes_of(num_cases: int) -> Counter[str]:
    """Prepares generated folders, and counts what came of them."""
    outcomes: Counter[str] = Counter()
    for case in range(num_cases):
        with tempfile.TemporaryDirectory() as folder:
            source, out = odd_source(Path(folder) / "source", random.Random(case)), Path(folder) / "out"
            try:
                prepared = prepare(source, out)
            except ValueError as error:
                message = str(error)
                assert "\n" not in message and message.endswith("."), (case, message)
                assert len(message) < 700, (case, message)
                assert not out.exists(), case
                outcomes["refused in one sentence"] += 1
                continue
            for split, result in prepared.items():
                maps = stored_maps(out, split)
                assert len(maps) == result.num_pictures > 0, case
                assert {label for ids in maps for row in ids for label in row} <= {0, 1, 2, 255}, case
            assert prepare(source, out) == prepared, case
            outcomes["prepared"] += 1
    return outcomes


def test_odd_folders_are_prepared_or_get_one_sentence() -> None:
    assert outcomes_of(25).total() == 25


@pytest.mark.slow
def test_five_hundred_odd_folders() -> None:
    outcomes = outcomes_of(NUM_CASES)
    assert outcomes.keys() == {"prepared", "refused in one sentence"}
    assert min(outcomes.values()) > NUM_CASES // 10, outcomes
