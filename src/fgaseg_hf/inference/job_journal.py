# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a job over many pictures has done, line by line on disk, so that it can go on where it was stopped."""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

STATE_FOLDER = ".fgaseg"
JOURNAL_FILE = "job.jsonl"
FORMAT_VERSION = 1


@dataclass
class JobJournal:
    """The journal of one output folder, and the place where files are written before they get their names.

    A picture's files are written into a folder of their own, which is renamed when all of them are there; from then on
    they count as written, and whoever comes next moves them to their places, if this process no longer can.

    Attributes:
        output: The output folder.
        settings: All that the results depend on.
        done: By the picture's key, what was written of it: its fingerprint, name and files.
    """

    output: Path
    settings: Mapping[str, Any]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    _file: TextIO | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where the journal and unfinished files lie."""
        return self.output / STATE_FOLDER

    def open(self, resume: bool) -> None:
        """Begins, or goes on: finishes what was written and not yet in its place, and drops what was half-written.

        Args:
            resume: Whether to go on with the pictures that are done already.

        Raises:
            ValueError: There is another job's journal, so that this one cannot go on.
            OSError: The folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        journal = self.folder / JOURNAL_FILE
        lines = self._read(journal)
        if resume and lines:
            self._check_settings(lines[0])
        self._move_what_is_whole()
        kept = lines[1:] if resume else []
        for line in kept:
            if isinstance(line.get("picture"), str) and isinstance(line.get("files"), list):
                self.done[line["picture"]] = line
        # Written anew, without a line that a kill cut short.
        aside = journal.with_suffix(".partial")
        with aside.open("w", encoding="utf-8") as file:
            for line in [{"format_version": FORMAT_VERSION, "settings": self.settings}, *self.done.values()]:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(journal)
        self._file = journal.open("a", encoding="utf-8")

    def close(self) -> None:
        """Ends the work; the journal stays, for the next `--resume`."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_done(self, key: str, fingerprint: Sequence[int] | None) -> bool:
        """Whether a picture was segmented, has not changed since, and its files are still there."""
        entry = self.done.get(key)
        if entry is None or fingerprint is None or entry.get("fingerprint") != list(fingerprint):
            return False
        return all((self.output / name).is_file() for name in entry["files"])

    def begin(self, number: int) -> Path:
        """Makes a place to write a picture's files to."""
        place = self.folder / f"{number}.partial"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def finish(self, place: Path, written: Sequence[Path], entry: dict[str, Any]) -> list[Path]:
        """Gives a picture's files their names and notes that it is done.

        Args:
            place: Where they lie, under the names that they get below the output folder.
            written: The files.
            entry: What to note of the picture; `picture` and `fingerprint`.

        Returns:
            The files in their places.
        """
        files = [path.relative_to(place).as_posix() for path in written]
        for name in files:
            with (place / name).open("rb+") as file:
                os.fsync(file.fileno())
        whole = place.with_suffix(".whole")
        shutil.rmtree(whole, ignore_errors=True)
        place.replace(whole)
        self._move(whole)
        assert self._file is not None, "the journal is not open"
        line = {**entry, "files": files}
        # Several threads write pictures.
        with self._lock:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
            self.done[entry["picture"]] = line
        return [self.output / name for name in files]

    def _read(self, journal: Path) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        if journal.is_file():
            for text in journal.read_text(encoding="utf-8", errors="replace").splitlines():
                # The last line may be cut short.
                with contextlib.suppress(ValueError):
                    line = json.loads(text)
                    if isinstance(line, dict):
                        lines.append(line)
        return lines

    def _check_settings(self, first: dict[str, Any]) -> None:
        stored = first.get("settings")
        if first.get("format_version") != FORMAT_VERSION or not isinstance(stored, dict):
            raise ValueError(
                f"The job in {str(self.output)!r} was begun by another version: begin anew without --resume."
            )
        now = json.loads(json.dumps(self.settings))
        if changed := [name for name in now if now[name] != stored.get(name)]:
            raise ValueError(
                f"The job in {str(self.output)!r} was begun with other settings ({', '.join(changed)}): give the same, "
                "name another --output, or begin anew without --resume."
            )

    def _move_what_is_whole(self) -> None:
        for place in self.folder.iterdir():
            if place.suffix == ".whole":
                self._move(place)
            elif place.suffix == ".partial" and place.is_dir():
                shutil.rmtree(place, ignore_errors=True)

    def _move(self, whole: Path) -> None:
        for path in [path for path in whole.rglob("*") if path.is_file()]:
            target = self.output / path.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        shutil.rmtree(whole, ignore_errors=True)


__all__ = ["STATE_FOLDER", "JobJournal"]
