# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Many pictures to files: each exactly once, whole or not at all, whatever happens on the way."""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from .georeferenced import WINDOW, has_rasterio, is_georeferenced, segment_raster
from .geotiff_writing import raster_files_of
from .job_journal import JobJournal
from .output_formats import check_formats, files_of, write_formats
from .output_marks import MARK, is_own_file, refuse_others_files
from .overlapped_work import overlap_reading_and_writing
from .picture_search import STANDARD_INPUT, FoundPicture, free_name
from .picture_sources import read_picture
from .segmentation import Segmentation
from .segmenter import Segmenter
from .word_encoding import Words
from .word_shares import WordShares

FAILED_FILE = "failed.json"
# How many pixels may be in memory at once, from reading a picture to writing its files; larger ones come one by one.
PIXELS_UNDER_WAY = 2**26


@dataclass(frozen=True)
class PictureOutcome:
    """What became of a picture.

    Attributes:
        picture: The picture.
        files: What was written.
        result: What was found: a [`Segmentation`], or a [`RasterSegmentation`] of a georeferenced picture; `None` if it
            failed, or was done by an earlier run.
        reason: Why it failed, in a sentence; `None` if it did not.
    """

    picture: FoundPicture
    files: list[Path] = field(default_factory=list)
    result: WordShares | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """One line of `--json`."""
        if self.reason is not None:
            return {"picture": self.picture.source, "error": self.reason}
        described: dict[str, Any] = {"picture": self.picture.source, "files": [str(path) for path in self.files]}
        if self.result is not None:
            described["size"] = list(self.result.size)
            described["shares"] = {name: round(share, 6) for name, share in self.result.shares.items()}
            described["scores"] = {
                name: None if score is None else round(score, 4) for name, score in self.result.scores.items()
            }
            described["unlabelled"] = round(self.result.unlabelled_share, 6)
        return described


class FolderJob:
    """Segments pictures into files below one folder.

    Args:
        segmenter: What segments.
        words: What to look for.
        output: The folder; made if it is missing.
        formats: Which files to write of each picture, see [`output_formats.FORMATS`].
        resume: Whether pictures that an earlier run has done with the same model, words and settings are left alone.
        overwrite: Whether to replace files that this package did not write.
        window: Side of the parts in which georeferenced pictures are read, see [`segment_raster`].

    Raises:
        ValueError: There is no such format, the folder cannot be written to, or the job there is another.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        words: Words | None,
        output: str | Path,
        formats: Iterable[str],
        resume: bool = False,
        overwrite: bool = False,
        window: int = WINDOW,
    ) -> None:
        self.segmenter = segmenter
        self.words = segmenter.encode(words)
        self.formats = check_formats(formats)
        self.output = Path(output)
        self.resume = resume
        self.overwrite = overwrite
        self.window = window
        self.failed: list[PictureOutcome] = []
        self.num_done_before = 0

    def describe(self) -> dict[str, Any]:
        """All that the results depend on."""
        options = {name: value for name, value in vars(self.segmenter.options).items() if name != "batch_size"}
        return {
            "model": self.segmenter.name,
            **self.segmenter.describe_model(),
            "words": list(self.words.labels),
            "formats": list(self.formats),
            "options": options,
            "window": self.window,
        }

    def run(self, pictures: Sequence[FoundPicture]) -> Iterator[PictureOutcome]:
        """Segments pictures; those that cannot be read or segmented are reported and the rest is done.

        Args:
            pictures: What to segment.

        Yields:
            What became of each that an earlier run has not done, in their order.

        Raises:
            ValueError: The folder cannot be written to, the job there is another, or files of another are in the way.
        """
        journal = JobJournal(self.output, self.describe())
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            journal.open(self.resume)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(
                f"Cannot write to the output folder {str(self.output)!r} ({reason}): name another."
            ) from error
        try:
            waiting = self._what_is_left(pictures, journal)
            for picture, name in waiting:
                named = raster_files_of if is_read_in_parts(picture) else files_of
                refuse_others_files(named(self.output, name, self.formats), self.overwrite)
            refuse_others_files([self.output / FAILED_FILE], self.overwrite)
            for outcome in self._work(waiting, journal):
                if outcome.reason is not None:
                    self.failed.append(outcome)
                yield outcome
        finally:
            journal.close()
            self._note_failures()

    def _what_is_left(self, pictures: Sequence[FoundPicture], journal: JobJournal) -> list[tuple[FoundPicture, str]]:
        """Pictures that are not done, with the names of their results; those of pictures that are done stay theirs."""
        taken = {entry["name"].casefold() for entry in journal.done.values() if "name" in entry}
        left = []
        for picture in pictures:
            entry = journal.done.get(key_of(picture))
            if entry is not None and journal.is_done(key_of(picture), fingerprint_of(picture)):
                self.num_done_before += 1
            elif entry is not None and "name" in entry:
                left.append((picture, entry["name"]))
            else:
                left.append((picture, free_name(picture.name, taken)))
        return left

    def _work(self, waiting: list[tuple[FoundPicture, str]], journal: JobJournal) -> Iterator[PictureOutcome]:
        numbered = iter(list(enumerate(waiting)))
        batches = iter(lambda: list(islice(numbered, self.segmenter.batch_size())), [])
        outcomes = overlap_reading_and_writing(
            batches,
            read=lambda batch: [_read_or_reason(picture) for _, (picture, _) in batch],
            compute=lambda _, read: self._compute(read),
            write=lambda batch, _, results: [
                self._write(number, picture, name, result, journal)
                for (number, (picture, name)), result in zip(batch, results, strict=True)
            ],
            weigh=lambda batch: sum(num_pixels_of(picture) for _, (picture, _) in batch),
            max_weight=PIXELS_UNDER_WAY,
        )
        for batch in outcomes:
            # Taken out one by one, so that what the caller is done with is let go of.
            batch.reverse()
            while batch:
                yield batch.pop()

    def _compute(self, read: "list[Image.Image | str | None]") -> "list[Segmentation | str | None]":
        """Segments what could be read; if a batch fails, each picture by itself, to find the one at fault."""
        whole = [picture for picture in read if isinstance(picture, Image.Image)]
        if not whole:
            return [picture for picture in read if not isinstance(picture, Image.Image)]
        try:
            results: Iterator[Segmentation | str | None] = iter(self.segmenter.segment_batch(whole, self.words))
        # What goes wrong with one picture shall not end a job over thousands.
        except Exception as error:
            if len(whole) == 1:
                results = iter([_reason(error)])
            else:
                results = iter([self._compute([picture])[0] for picture in whole])
        return [next(results) if isinstance(picture, Image.Image) else picture for picture in read]

    def _write(
        self, number: int, picture: FoundPicture, name: str, result: Segmentation | str | None, journal: JobJournal
    ) -> PictureOutcome:
        if isinstance(result, str):
            return PictureOutcome(picture, reason=result)
        place = journal.begin(number)
        folder = place / Path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        entry = {"picture": key_of(picture), "fingerprint": fingerprint_of(picture), "name": name}
        try:
            # What the files call the picture is the last part; the folders before it are below the output folder.
            files, found = self._write_files(picture, Path(name).name, result, folder)
            return PictureOutcome(picture, journal.finish(place, files, entry), found)
        except ValueError as error:
            return PictureOutcome(picture, reason=_reason(error))
        finally:
            # Still there if something went wrong, such as a full disk.
            shutil.rmtree(place, ignore_errors=True)

    def _write_files(
        self, picture: FoundPicture, name: str, result: Segmentation | None, folder: Path
    ) -> tuple[list[Path], WordShares]:
        if result is not None:
            result.name = name
            return write_formats(result, folder, name, self.formats), result
        # Part by part: computed while it is written.
        words, formats = self.words, self.formats
        raster = segment_raster(self.segmenter, picture.source, words, folder, name, formats, self.window)
        return raster.files, raster

    def _note_failures(self) -> None:
        path = self.output / FAILED_FILE
        if self.failed:
            entries = [outcome.to_dict() for outcome in self.failed]
            content = json.dumps({"generator": MARK, "failed": entries}, indent=2, ensure_ascii=False)
            # Where even this does not fit on the disk, that is what the user is told.
            with contextlib.suppress(OSError):
                path.write_text(content + "\n", encoding="utf-8")
        elif path.is_file() and is_own_file(path):
            path.unlink()


def key_of(picture: FoundPicture) -> str:
    """What tells pictures apart: a file's whole path, or an address."""
    return picture.source if picture.path is None else str(picture.path.resolve())


def fingerprint_of(picture: FoundPicture) -> list[int] | None:
    """Changes when a picture does; `None` where that cannot be known."""
    if picture.path is None:
        return None
    try:
        status = picture.path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def num_pixels_of(picture: FoundPicture) -> int:
    """How many pixels a picture's file says that it has; 0 where only reading it can tell."""
    try:
        if picture.path is not None:
            with Image.open(picture.path) as file:
                return file.width * file.height
    # Whatever is wrong with it, reading it will say.
    except Exception:
        return 0
    return 0


def is_read_in_parts(picture: FoundPicture) -> bool:
    """Whether a picture is one that [`segment_raster`] reads."""
    return picture.path is not None and has_rasterio() and is_georeferenced(picture.path)


def _read_or_reason(picture: FoundPicture) -> Image.Image | str | None:
    """Reads a picture: `None` for one that is read later, in parts; a sentence if it cannot be read."""
    if is_read_in_parts(picture):
        return None
    try:
        return read_picture(sys.stdin.buffer.read() if picture.source == STANDARD_INPUT else picture.source)
    except Exception as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


__all__ = ["FolderJob", "PictureOutcome", "is_read_in_parts"]
