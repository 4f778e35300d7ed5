# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a benchmark as it was published, and how to find them and their label maps in a folder."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
        read_labels: returns the published ids, integers (height, width).
    """

    name: str
    picture: Path
    read_labels: Callable[[], np.ndarray]


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


def pair_files(pictures: Path, maps: Path) -> list[PublishedPicture]:
    """Pairs pictures and label maps of the same name; either may lack the other."""
    if not maps.is_dir():
        raise ValueError(f"There is no folder {maps}, although there is {pictures}: put the label maps there.")
    picture_of = {path.stem: path for path in pictures.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES}
    map_of = {path.stem: path for path in maps.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES}
    return [
        PublishedPicture(
            name,
            picture_of.get(name, pictures / f"{name}.jpg"),
            picture_reader(map_of.get(name, maps / f"{name}.png")),
        )
        for name in sorted(picture_of.keys() | map_of.keys())
    ]


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
