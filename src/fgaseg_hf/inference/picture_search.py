# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which pictures files, folders, patterns and addresses stand for, and what to call their results."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image

from .output_marks import is_own_file

# Formats that Pillow knows by name and opens seldom or not at all, or that are no pictures to segment.
_NO_PICTURES = {"MPEG", "PDF", "EPS", "WMF", "BUFR", "GRIB", "HDF5", "FITS", "STUB"}
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class FoundPicture:
    """A picture to segment.

    Attributes:
        source: Its path or address; "-" for standard input.
        name: What its results are called: a path below the output folder, without ending.
    """

    source: str
    name: str

    @property
    def path(self) -> Path | None:
        """Where it lies, if it is a file."""
        return None if is_address(self.source) or self.source == STANDARD_INPUT else Path(self.source)


@dataclass
class PictureSearch:
    """What was found.

    Attributes:
        pictures: Each picture once.
        left_out: Reason -> how many files of folders and patterns were left out for it.
    """

    pictures: list[FoundPicture] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def describe_left_out(self) -> str:
        """Writes "left out 3 files (2 no pictures, 1 own results)", or nothing."""
        if not self.left_out:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        count = self.left_out.total()
        return f"left out {count} file{'s' if count > 1 else ''} ({reasons})"


def is_address(source: str) -> bool:
    """Whether a source is an `http(s)` address."""
    return source.startswith(("http://", "https://"))


def name_of_address(address: str) -> str:
    """What a picture from an address is called: its file's name there, without ending."""
    return PurePosixPath(unquote(urlsplit(address).path)).stem or "picture"


def open_heic_too() -> None:
    """Lets Pillow open HEIC files, as telephones write them, where pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def picture_suffixes() -> set[str]:
    """Endings of the files that Pillow opens as pictures."""
    open_heic_too()
    # Loads all of Pillow's formats.
    extensions = Image.registered_extensions()
    return {suffix for suffix, name in extensions.items() if name in Image.OPEN and name not in _NO_PICTURES}


def find_pictures(arguments: Sequence[str], recursive: bool = False) -> PictureSearch:
    """Lists the pictures that files, folders, patterns and addresses stand for, each once.

    A folder stands for the pictures that lie in it. Of folders and patterns, what is no picture and what this package
    wrote itself is left out and counted; what is named by itself is taken as it is.

    Args:
        arguments: Files, folders, patterns such as "photos/*.jpg", `http(s)` addresses, or "-" for standard input.
        recursive: Whether folders within folders count too; results then lie in folders of the same names.

    Raises:
        ValueError: An argument stands for nothing that is there.
    """
    search = PictureSearch()
    suffixes = picture_suffixes()
    taken: set[str] = set()
    names: set[str] = set()

    def add(source: str, name: str) -> None:
        # The same file by two paths is one.
        key = source if is_address(source) or source == STANDARD_INPUT else str(Path(source).resolve())
        if key not in taken:
            taken.add(key)
            search.pictures.append(FoundPicture(source, free_name(name, names)))

    for argument in arguments:
        path = Path(argument)
        if argument == STANDARD_INPUT:
            add(argument, "stdin")
        elif is_address(argument):
            add(argument, name_of_address(argument))
        elif path.is_dir():
            inside = sorted(path.rglob("*") if recursive else path.iterdir())
            before = len(search.pictures), search.left_out.total()
            for file in _only_pictures(inside, suffixes, search.left_out):
                relative = PurePosixPath(file.relative_to(path).as_posix())
                add(str(file), str(relative.with_suffix("")) if relative.suffix else str(relative))
            if (len(search.pictures), search.left_out["own results"]) == (before[0], 0) and not taken:
                hint = "" if recursive else " itself (--recursive looks into folders within it)"
                raise ValueError(f"The folder {argument!r} holds no pictures{hint}: name another or a picture itself.")
        elif path.exists():
            add(argument, path.stem)
        elif glob.has_magic(argument):
            matches = [Path(match) for match in sorted(_matches(argument))]
            if not any(match.is_file() for match in matches):
                raise ValueError(f"The pattern {argument!r} fits no file: name an existing picture.")
            for file in _only_pictures(matches, suffixes, search.left_out):
                add(str(file), file.stem)
        else:
            raise ValueError(f"There is no picture {argument!r}: name an existing file, folder or pattern.")
    return search


def _only_pictures(files: Iterable[Path], suffixes: set[str], left_out: Counter[str]) -> list[Path]:
    pictures = []
    for file in files:
        if not file.is_file() or any(part.startswith(".fgaseg") for part in file.parts):
            continue
        suffix = file.suffix.lower()
        if suffix in HEIC_SUFFIXES and suffix not in suffixes:
            left_out["HEIC, for which pillow-heif must be installed"] += 1
        elif file.name.startswith(".") or suffix not in suffixes:
            left_out["no pictures"] += 1
        elif is_own_file(file):
            left_out["own results"] += 1
        else:
            pictures.append(file)
    return pictures


def _matches(pattern: str) -> list[str]:
    """What a pattern fits; names of folders that hold a pattern's signs and are there stand for themselves."""
    found = glob.glob(pattern, recursive=True)
    if found:
        return found
    rest: list[str] = []
    literal = Path(Path(pattern).anchor)
    for part in Path(pattern).parts[1 if Path(pattern).anchor else 0 :]:
        if not rest and (literal / part).exists():
            literal = literal / part
        else:
            rest.append(part)
    return glob.glob(str(Path(glob.escape(str(literal)), *rest)), recursive=True) if rest else []


def free_name(name: str, taken: set[str]) -> str:
    """Gives a name that is not taken: the name itself, or numbered; then it is taken."""
    free, number = name, 1
    # Case is ignored because some file systems do.
    while free.casefold() in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free.casefold())
    return free


__all__ = [
    "HEIC_SUFFIXES",
    "STANDARD_INPUT",
    "FoundPicture",
    "PictureSearch",
    "find_pictures",
    "free_name",
    "is_address",
    "name_of_address",
    "open_heic_too",
]
