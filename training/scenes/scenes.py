# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Generated scenes: an endless, seeded data set of drawn pictures whose class names compose ("red car").

`python training/scenes/scenes.py --out DIR` writes a data set in the Hub's layout, which `load_dataset(DIR)` loads.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scene_composition import SPLITS, check_request, generate_scene
from scene_vocabulary import (
    CLASS_NAMES,
    COLOURED_NOUNS,
    COLOURS,
    NEW_PLACE_NAMES,
    NEW_PLACES,
    PATTERNED_NOUNS,
    PATTERNS,
    SEEN_NAMES,
    UNCOLOURED_NOUNS,
    UNSEEN_NAMES,
)
from tqdm import tqdm

__all__ = ["FEATURES", "SPLITS", "generate_scene", "scenes_dataset", "write_scenes"]

FEATURES = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})


def _scene_number(seed: int, index: int) -> int:
    """Returns the seed of a data set's picture; data sets of up to 2**32 pictures share none."""
    return seed * 2**32 + index


def _encode(picture: Image.Image, labels: np.ndarray) -> dict[str, dict[str, bytes | None]]:
    """Returns a row of the data set: the picture as JPEG, the label map as 16-bit PNG."""
    row: dict[str, dict[str, bytes | None]] = {}
    for column, image, options in (
        ("image", picture, {"format": "JPEG", "quality": 95, "subsampling": 0}),
        ("annotation", Image.fromarray(labels), {"format": "PNG"}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        row[column] = {"bytes": buffer.getvalue(), "path": None}
    return row


def _encoded_scene(task: tuple[int, str, int]) -> dict[str, dict[str, bytes | None]]:
    seed, split, size = task
    return _encode(*generate_scene(seed, split, size))


def _endless_rows(
    split: str, seed: int, size: int, streams: list[int], num_streams: int
) -> Iterator[dict[str, object]]:
    index = 0
    while True:
        for stream in streams:
            picture, labels = generate_scene(_scene_number(seed, index * num_streams + stream), split, size)
            yield {"image": picture, "annotation": Image.fromarray(labels)}
        index += 1


def scenes_dataset(
    split: str = "train", seed: int = 0, size: int = 224, num_streams: int = 16
) -> datasets.IterableDataset:
    """Returns an endless data set of scenes with the columns `image` and `annotation`.

    Args:
        split: as in `generate_scene`.
        seed: data sets of different seeds share no picture.
        size: side of the pictures in pixels.
        num_streams: how many workers or processes can share the data set without repeating each other's pictures.

    Returns:
        The data set; it never ends, so take what is needed (`.take(100)`).

    Raises:
        ValueError: as `generate_scene`, or if there is no stream.
    """
    check_request(split, size)
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    if num_streams < 1:
        raise ValueError(f"num_streams must be 1 or more, got {num_streams}.")
    streams = list(range(num_streams))
    options = {"split": split, "seed": seed, "size": size, "streams": streams, "num_streams": num_streams}
    return datasets.IterableDataset.from_generator(_endless_rows, features=FEATURES, gen_kwargs=options)


def write_scenes(out: Path, counts: dict[str, int], seed: int = 0, size: int = 224, num_workers: int = 1) -> None:
    """Writes a data set of scenes in the Hub's layout.

    Args:
        out: folder; it must not hold a data set already.
        counts: pictures of each split; a split of none is left out.
        seed: the data set's number.
        size: side of the pictures in pixels.
        num_workers: processes that draw.

    Raises:
        ValueError: if a count, the seed, the size or the folder does not fit.
    """
    for split, count in counts.items():
        check_request(split, size)
        if count < 0:
            raise ValueError(f"the number of {split} pictures must be 0 or more, got {count}.")
    if not any(counts.values()):
        raise ValueError("ask for at least one picture of some split; all counts are 0.")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    if num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers}.")
    if out.exists() and (not out.is_dir() or any((out / "data").glob("*.parquet"))):
        raise ValueError(f"{out} already holds a data set or is no folder; name a new folder.")
    (out / "data").mkdir(parents=True, exist_ok=True)
    contents = hashlib.sha256()
    for split, count in counts.items():
        if count:
            _write_split(out / "data", split, count, seed, size, num_workers, contents)
    (out / "class_names.txt").write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")
    groups = {"seen": SEEN_NAMES, "unseen": UNSEEN_NAMES, "new_places": NEW_PLACE_NAMES}
    (out / "class_groups.json").write_text(json.dumps(groups, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(_card(counts, seed, size, contents.hexdigest()), encoding="utf-8")


def _write_split(
    folder: Path, split: str, count: int, seed: int, size: int, num_workers: int, contents: hashlib._Hash
) -> None:
    """Writes the files of a split; pictures and label maps as they are stored go into the hash `contents`."""
    rows_a_file, rows_a_group = 4000, 50
    num_files = -(-count // rows_a_file)
    tasks = ((_scene_number(seed, index), split, size) for index in range(count))
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(tqdm(total=count, desc=split, unit="picture"))
        rows: Iterator[dict[str, dict[str, bytes | None]]]
        if num_workers == 1:
            rows = map(_encoded_scene, tasks)
        else:
            # Spawned, not forked: a fork would copy the locks of the caller's threads as they stand.
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(num_workers))
            rows = pool.imap(_encoded_scene, tasks, chunksize=16)
        for number in range(num_files):
            path = folder / f"{split}-{number:05d}-of-{num_files:05d}.parquet"
            left = min(rows_a_file, count - number * rows_a_file)
            with pq.ParquetWriter(path, FEATURES.arrow_schema) as writer:
                while left:
                    group = list(itertools.islice(rows, min(rows_a_group, left)))
                    for row in group:
                        for column in FEATURES:
                            contents.update(row[column]["bytes"] or b"")
                    writer.write_table(pa.Table.from_pylist(group, schema=FEATURES.arrow_schema))
                    left -= len(group)
                    progress.update(len(group))


def _card(counts: dict[str, int], seed: int, size: int, content_hash: str) -> str:
    """Returns the data set's card, whose YAML tells `datasets` which file is which split.

    The hash of the content is part of that YAML: `datasets` keeps what it has read under a key made of the card and of
    the files' names, so that without it other scenes written to the same folder would be taken for the first ones.
    """
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*.parquet" for split in counts if counts[split])
    listed = ", ".join(f"`{split}` {count}" for split, count in counts.items() if count)
    places = "\n".join(f"- {noun}: {', '.join(sorted(names))}" for noun, names in NEW_PLACES.items())
    arguments = " ".join(f"--num_{split} {count}" for split, count in counts.items())
    return f"""---
license: cc0-1.0
task_categories:
- image-segmentation
pretty_name: Generated scenes
configs:
- config_name: default
  data_files:
{files}
dataset_info:
  description: "generated scenes, sha256 {content_hash}"
  features:
  - name: image
    dtype: image
  - name: annotation
    dtype: image
---
# Generated scenes

Drawn pictures ({size} x {size}) with a label for every pixel. Class names compose: {len(COLOURED_NOUNS)} nouns with
{len(COLOURS)} colours, {len(PATTERNED_NOUNS)} of them with {len(PATTERNS)} patterns too,
and {len(UNCOLOURED_NOUNS)} nouns without either.

Pictures: {listed}.

- `image`: RGB picture (JPEG). `annotation`: 16-bit label map (PNG), line number in `class_names.txt` from 0.
- `class_groups.json`: `seen`; `unseen`, the {len(UNSEEN_NAMES)} pairs that `train` and `validation_seen` never show;
  `new_places`, the seen pairs that `validation_unseen` shows only where training never does.
- `validation_unseen` shows mostly unseen pairs, and these nouns in these new places:

{places}

Written by `python training/scenes/scenes.py {arguments} --seed {seed} --size {size} --out DIR`.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code (2 for bad input)."""
    parser = argparse.ArgumentParser(description="Writes a data set of generated scenes in the Hub's layout.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not hold a data set already")
    parser.add_argument("--num_train", type=int, default=20000, help="training pictures (default: %(default)s)")
    parser.add_argument(
        "--num_validation", type=int, default=500, help="pictures of each validation split (default: %(default)s)"
    )
    parser.add_argument("--num_validation_seen", type=int, help="pictures of validation_seen, if another number")
    parser.add_argument("--num_validation_unseen", type=int, help="pictures of validation_unseen, if another number")
    parser.add_argument("--seed", type=int, default=0, help="number of the data set (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels (default: %(default)s)")
    parser.add_argument("--num_workers", type=int, default=1, help="processes that draw (default: %(default)s)")
    options = parser.parse_args(arguments)
    counts = {"train": options.num_train}
    for split in SPLITS[1:]:
        count = getattr(options, f"num_{split}")
        counts[split] = options.num_validation if count is None else count
    try:
        write_scenes(options.out, counts, options.seed, options.size, options.num_workers)
    except (ValueError, OSError) as error:
        print(f"scenes.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
