# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Very many pictures to Parquet: what is asked, what is left, and the loop that does it (extra `scale`)."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..inference.picture_search import find_pictures
from .picture_rows import PictureRowWriter

JOB_FILE = "job.json"
ROW_FILES = "rows-*.parquet"


@dataclass(frozen=True)
class RowJob:
    """What is asked of all pictures.

    Attributes:
        output: The folder for the rows.
        model: What `Segmenter` takes.
        words: What to look for; the model's own words if not given.
        options: Of `Segmenter`.
        batch_size: Pictures of one file of rows.
    """

    output: Path
    model: str
    words: list[str] | None
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32

    def begin(self, model: Mapping[str, Any] | None = None) -> None:
        """Notes what is asked in the output folder.

        Args:
            model: What [`Segmenter.describe_model`] says, once the model is there.

        Raises:
            ValueError: Another job's rows lie there.
        """
        about = {"model": self.model, "words": self.words, "options": self.options, **(model or {})}
        path = self.output / JOB_FILE
        self.output.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            asked = json.loads(json.dumps(about))
            if changed := [name for name in asked if name in before and before[name] != asked[name]]:
                raise ValueError(
                    f"{str(self.output)!r} holds the rows of another job ({', '.join(changed)} differ): name another "
                    "folder."
                )
            if asked.keys() <= before.keys():
                return
        aside = path.with_suffix(".partial")
        aside.write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")
        aside.replace(path)

    def worker_arguments(self) -> dict[str, Any]:
        """What a [`PictureRowWriter`] is made with."""
        return {"model": self.model, "words": self.words, "output": str(self.output.resolve()), **self.options}


def find_sources(source: Path) -> list[dict[str, Any]]:
    """Lists pictures by id.

    Args:
        source: A folder, whose pictures (in folders within it too) are known by their paths below it; or a Parquet file
            with the columns `id` and `picture`, paths or files' bytes.

    Raises:
        ValueError: There are none, or a column is missing.
    """
    if source.is_dir():
        found = find_pictures([str(source)], recursive=True).pictures
        paths = [Path(picture.source) for picture in found]
        return [{"id": path.relative_to(source).as_posix(), "picture": str(path.resolve())} for path in paths]
    from pyarrow import lib, parquet

    try:
        table = parquet.read_table(source, columns=["id", "picture"])
    except (OSError, lib.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{str(source)!r} is neither a folder of pictures nor a Parquet file with `id` and `picture` ({reason})."
        ) from error
    rows = table.to_pylist()
    if len({row["id"] for row in rows}) < len(rows):
        raise ValueError(f"{str(source)!r} has an id twice: give every picture one of its own.")
    return rows


def read_rows(output: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Reads what a job has written, each picture once."""
    from pyarrow import parquet

    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(output.glob(ROW_FILES)):
        for row in parquet.read_table(path, columns=None if columns is None else list(columns)).to_pylist():
            rows.setdefault(row["id"], row)
    return list(rows.values())


def what_is_left(job: RowJob, sources: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pictures that no file of rows holds yet."""
    done = {row["id"] for row in read_rows(job.output, ["id"])}
    return [source for source in sources if source["id"] not in done]


def run_here(job: RowJob, left: Sequence[dict[str, Any]]) -> Iterator[dict[str, list[Any]]]:
    """Does what is left of a job that has begun, in this process, a batch at a time.

    Args:
        job: The job.
        left: See [`what_is_left`].

    Yields:
        `id` and `error` (empty for none) of each batch.

    Raises:
        ValueError: The model is not the one whose rows lie there.
    """
    if not left:
        return
    writer = PictureRowWriter(**job.worker_arguments())
    job.begin(writer.describe_model())
    for start in range(0, len(left), job.batch_size):
        batch = left[start : start + job.batch_size]
        yield writer({name: [source[name] for source in batch] for name in ("id", "picture")})


__all__ = ["RowJob", "find_sources", "read_rows", "run_here", "what_is_left"]
