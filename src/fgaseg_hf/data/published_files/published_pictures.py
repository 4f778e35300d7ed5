# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a benchmark as it was published, and how to find them and their label maps in a folder."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...model.picture_reading import open_picture
from ..label_decoding import LabelDecoding, decode_label_map

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class LeftOut(Exception):
    """Says why a picture is left out."""


@dataclass(frozen=True)
class PublishedPicture:
    """A picture of a benchmark and where its labels come from.

    Attributes:
        name: unique within its split.
        picture: the file.
        labels: the file that the labels are read from, or a text that changes with them.
        read_labels: returns the published ids, integers (height, width).
    """

    name: str
    picture: Path
    labels: Path | str
    read_labels: Callable[[], np.ndarray]

    @cached_property
    def contents(self) -> list[str | None]:
        """What the picture is made from, for JSON: names, and hashes of both contents (None where there is no file).

        Files that were corrected, even to the same size, are other files. They are read once, when first asked for.
        """
        labels = self.labels if isinstance(self.labels, str) else _hash_file(self.labels)
        return [self.name, self.picture.name, _hash_file(self.picture), labels]


# For each split its pictures, and how many were seen that do not belong to it, by reason.
FoundSplits = Iterator[tuple[str, tuple[list[PublishedPicture], Counter[str]]]]


def first_folder(source: Path, places: Sequence[str], holds: str = "") -> Path | None:
    """Returns the first of some folders that exists (and holds another)."""
    return next((source / place for place in places if (source / place / holds).is_dir()), None)


def find_folder(source: Path, places: Sequence[str], holds: str = "") -> Path:
    """Returns the first of some folders that exists (and holds another).

    Raises:
        ValueError: none does.
    """
    found = first_folder(source, places, holds)
    if found is None:
        wanted = " or ".join(str(Path(place) / holds) for place in places)
        raise ValueError(f"The folder {source} has no {wanted}: unpack the published files there.")
    return found


def find_file(source: Path, places: Sequence[str]) -> Path:
    """Returns the first of some files that exists.

    Raises:
        ValueError: none does.
    """
    for place in places:
        if (source / place).is_file():
            return source / place
    raise ValueError(f"The folder {source} has no file {' or '.join(places)}: put the published one there.")


def pictures_in(folder: Path) -> dict[str, Path]:
    """Returns the pictures of a folder by their names without the ending; hidden files are none.

    Raises:
        ValueError: two files differ by their ending alone.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PICTURE_SUFFIXES or path.name.startswith(".") or path.is_dir():
            continue
        other = found.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(
                f"The folder {folder} has both {other.name} and {path.name}: pictures and label maps are paired by the "
                "name without its ending, so rename or remove one."
            )
    return found


def pair_files(pictures: Path, maps: Path) -> list[PublishedPicture]:
    """Pairs pictures and label maps of the same name; either may lack the other.

    Raises:
        ValueError: there is no folder of label maps, or two files of a folder differ by their ending alone.
    """
    if not maps.is_dir():
        raise ValueError(f"There is no folder {maps}, although there is {pictures}: put the label maps there.")
    picture_of, map_of = pictures_in(pictures), pictures_in(maps)
    paired = []
    for name in sorted(picture_of.keys() | map_of.keys()):
        labels = map_of.get(name, maps / f"{name}.png")
        picture = picture_of.get(name, pictures / f"{name}.jpg")
        paired.append(PublishedPicture(name, picture, labels, picture_reader(labels)))
    return paired


def refuse_repeated_names(pictures: Sequence[PublishedPicture]) -> None:
    """Refuses two pictures of one name, of which one would silently count for both.

    Raises:
        ValueError: there are two; names both files.
    """
    first_with: dict[str, PublishedPicture] = {}
    for picture in pictures:
        other = first_with.setdefault(picture.name, picture)
        if other is not picture:
            raise ValueError(f"{other.picture} and {picture.picture} are pictures of one name: remove one of them.")


def picture_reader(path: Path, decoding: LabelDecoding = "index") -> Callable[[], np.ndarray]:
    """Returns a function that reads a label map which is stored as a picture."""

    def read() -> np.ndarray:
        if not path.is_file():
            raise FileNotFoundError(path)
        try:
            return decode_label_map(open_picture(path), decoding)
        except ValueError as error:
            raise LeftOut("with labels that cannot be read") from error

    return read


def _hash_file(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
