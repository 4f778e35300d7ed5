# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures to rows of a table: a worker that holds one model, in whatever process it is put."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..inference.coco_export import encode_mask
from ..inference.picture_sources import read_picture
from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter


def row_of(picture_id: str, result: Segmentation) -> dict[str, Any]:
    """One row: what is in a picture, the largest first.

    Args:
        picture_id: What the row is known by.
        result: The segmentation.

    Returns:
        `id`, `width`, `height`, and of each word that is there `words`, `shares`, `scores` and `masks` (run lengths as
        COCO writes them; `{"size": [height, width], "counts": mask}` is what pycocotools decodes); `error` is `None`.
    """
    words = list(result)
    return {
        "id": picture_id,
        "width": result.size[0],
        "height": result.size[1],
        "words": [word.name for word in words],
        "shares": [float(word.share) for word in words],
        "scores": [float(word.score or 0) for word in words],
        "masks": [encode_mask(word.mask)["counts"] for word in words],
        "error": None,
    }


def failed_row(picture_id: str, error: Exception) -> dict[str, Any]:
    """The row of a picture that could not be read or segmented."""
    reason = " ".join(str(error).split())[:400] or type(error).__name__
    empty: dict[str, Any] = {name: [] for name in ("words", "shares", "scores", "masks")}
    return {"id": picture_id, "width": 0, "height": 0, **empty, "error": reason}


def write_rows(rows: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Writes rows as one Parquet file, whole or not at all; the same pictures always become a file of the same name."""
    import pyarrow
    from pyarrow import parquet

    texts, numbers = pyarrow.list_(pyarrow.string()), pyarrow.list_(pyarrow.float64())
    schema = pyarrow.schema(
        {
            "id": pyarrow.string(),
            "width": pyarrow.int32(),
            "height": pyarrow.int32(),
            "words": texts,
            "shares": numbers,
            "scores": numbers,
            "masks": texts,
            "error": pyarrow.string(),
        }
    )
    key = hashlib.sha256("\n".join(row["id"] for row in rows).encode("utf-8", "backslashreplace")).hexdigest()[:32]
    path = folder / f"rows-{key}.parquet"
    aside = folder / f".{key}.{os.getpid()}.partial"
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), aside)
    aside.replace(path)
    return path


class PictureRowWriter:
    """Segments batches of pictures and writes a Parquet file for each.

    A plain class: a loop calls it, or whatever runs many of them on many machines.

    Args:
        model: What [`Segmenter`] takes.
        words: What to look for.
        output: The folder, which all workers must see.
        num_threads: Processor threads of this worker; PyTorch's own choice if not given.
        **options: Of [`Segmenter`]: `device`, `dtype`, `threshold`, `background`, ...
    """

    def __init__(
        self, model: str, words: list[str] | None, output: str, num_threads: int | None = None, **options: Any
    ) -> None:
        if num_threads is not None:
            import torch

            torch.set_num_threads(num_threads)
        self._segmenter = Segmenter(model, **options)
        self._words = words
        self._output = Path(output)

    def describe_model(self) -> dict[str, Any]:
        """What of the model rows depend on."""
        return self._segmenter.describe_model()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Does one batch.

        Args:
            batch: `id` and `picture` of each: a path, or a file's bytes.

        Returns:
            `id` and `error` of each.
        """
        rows = [self._row(str(name), picture) for name, picture in zip(batch["id"], batch["picture"], strict=True)]
        write_rows(rows, self._output)
        return {"id": [row["id"] for row in rows], "error": [row["error"] or "" for row in rows]}

    def _row(self, picture_id: str, source: Any) -> dict[str, Any]:
        try:
            picture = read_picture(source if isinstance(source, bytes) else str(source))
            return row_of(picture_id, self._segmenter(picture, self._words))
        # What goes wrong with one picture shall not end a job over millions.
        except Exception as error:
            return failed_row(picture_id, error)


__all__ = ["PictureRowWriter", "failed_row", "row_of", "write_rows"]
