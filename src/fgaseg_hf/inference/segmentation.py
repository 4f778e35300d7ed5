# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a picture was segmented into: one object to look at, ask, save and hand on."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..model.phrases import normalise_phrase
from .benchmark_palettes import cityscapes_pictures, pascal_voc_picture
from .coco_export import coco_annotations, coco_panoptic
from .label_map_files import label_map_picture
from .labelling_tool_export import cvat_annotations, label_studio_task
from .output_formats import DEFAULT_FORMATS, check_formats, files_of, write_formats
from .output_marks import refuse_others_files
from .polygon_export import geojson_features
from .visualization import class_palette, draw_overlay
from .word_shares import WordShares, sums_of_words

# Pixels whose confidence is summed at once: a bincount takes 16 bytes for each.
PIXELS_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class SegmentedWord:
    """One word's part of a picture.

    Attributes:
        name: The word.
        class_id: Its number in the label map.
        mask: bool (height, width): where it is.
        share: Which part of the picture that is, from 0 to 1.
        score: Mean probability of the word over its mask; `None` if it is nowhere.
        colour: RGB, as in the overlay.
    """

    name: str
    class_id: int
    mask: np.ndarray
    share: float
    score: float | None
    colour: tuple[int, int, int]

    @property
    def area(self) -> int:
        """How many pixels it covers."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The smallest (left, top, right, bottom) around it, right and bottom excluded; `None` if it is nowhere."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        if len(rows) == 0:
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def __repr__(self) -> str:
        score = "" if self.score is None else f", score {self.score:.2f}"
        return f"SegmentedWord({self.name!r}, {self.share:.1%} of the picture{score})"


class Segmentation(WordShares):
    """A picture with a word for each pixel.

    Args:
        picture: RGB.
        label_map: (height, width): the place of each pixel's word among `class_names`; -1 where no word is likely
            enough.
        class_names: The words.
        confidence: (height, width): the probability of each pixel's word; of the background and of pixels without a
            word, one minus that of the likeliest.
        name: What to call files of it.

    Example:
        >>> result = segmenter("street.jpg", ["car", "road", "sky"])
        >>> result["car"].share
        0.12
        >>> result.save("out")
    """

    def __init__(
        self,
        picture: Image.Image,
        label_map: np.ndarray,
        class_names: Sequence[str],
        confidence: np.ndarray,
        name: str = "picture",
    ) -> None:
        self.picture = picture
        self.class_names = tuple(class_names)
        # -1 has a place in both; a picture of 12 megapixels takes 24 MB instead of 96.
        self.label_map: np.ndarray = label_map.astype(
            np.int16 if len(self.class_names) < 2**15 else np.int32, copy=False
        )
        self.confidence = confidence.astype(np.float16, copy=False)
        self.name = name

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has it."""
        return self.picture.size

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of each word, and the sum of their confidence."""
        counts, totals = np.zeros(len(self.class_names), np.int64), np.zeros(len(self.class_names))
        rows = max(PIXELS_AT_ONCE // self.label_map.shape[1], 1)
        for top in range(0, self.label_map.shape[0], rows):
            band = slice(top, top + rows)
            more = sums_of_words(self.label_map[band], self.confidence[band], len(self.class_names))
            counts, totals = counts + more[0], totals + more[1]
        return counts, totals

    def __getitem__(self, word: str) -> SegmentedWord:
        """One word's mask, score and share; letter case and blanks make no difference.

        Raises:
            KeyError: It was not looked for.
        """
        places = {normalise_phrase(name): place for place, name in enumerate(self.class_names)}
        place = places.get(normalise_phrase(word)) if isinstance(word, str) else None
        if place is None:
            raise KeyError(f"{word!r} was not looked for: choose one of {', '.join(self.class_names[:20])}.")
        name = self.class_names[place]
        red, green, blue = (int(part) for part in class_palette(len(self.class_names))[place])
        return SegmentedWord(
            name, place, self.label_map == place, self.shares[name], self.scores[name], (red, green, blue)
        )

    def __iter__(self) -> Iterator[SegmentedWord]:
        """The words that are in the picture, the largest first."""
        for name in self.found:
            yield self[name]

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and normalise_phrase(word) in map(normalise_phrase, self.class_names)

    def __len__(self) -> int:
        return len(self.class_names)

    def __repr__(self) -> str:
        return f"Segmentation({self.name!r}, {self.size[0]} x {self.size[1]}: {self.describe(8)})"

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The picture under the words' colours, with a legend below it.

        Args:
            alpha: Opacity of the colours, from 0 to 1.
        """
        return draw_overlay(self.picture, self.label_map, self.class_names, alpha)

    def show(self, alpha: float = 0.5) -> None:
        """Opens the overlay: in a notebook below the cell, elsewhere in the system's viewer."""
        overlay = self.overlay(alpha)
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            overlay.show()
            return
        display(overlay) if get_ipython() is not None else overlay.show()

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = io.BytesIO()
        overlay = self.overlay()
        overlay.thumbnail((1600, 1600))
        overlay.save(content, format="PNG")
        return content.getvalue()

    def save(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        formats: Iterable[str] = DEFAULT_FORMATS,
        overwrite: bool = False,
    ) -> list[Path]:
        """Writes files: the overlay and the label map with the meaning of its ids, unless other formats are named.

        Args:
            folder: Where to write; made if it is missing.
            name: What the files' names begin with; the picture's own name if not given.
            formats: Names among [`output_formats.FORMATS`]: "overlay", "labels", "numpy", "coco", "geojson", ...
            overwrite: Whether to replace files that this package did not write.

        Returns:
            The files.

        Raises:
            ValueError: There is no such format, the words do not suit it, or another's file lies there.
        """
        folder, name, formats = Path(folder), name or self.name, check_formats(formats)
        refuse_others_files(files_of(folder, name, formats), overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        return write_formats(self, folder, name, formats)

    def to_numpy(self) -> np.ndarray:
        """The label map as an array (height, width) of whole numbers, -1 where there is no word."""
        return self.label_map.copy()

    def to_label_picture(self) -> Image.Image:
        """The label map as a picture of class ids, with a palette up to 255 words; 255 or 65535 where there is none."""
        return label_map_picture(self.label_map, len(self.class_names))

    def to_coco(self, image_id: int = 1, first_id: int = 1) -> dict[str, Any]:
        """COCO annotations with run-length masks, one a word that is in the picture."""
        return coco_annotations(self, image_id, first_id)

    def to_coco_panoptic(self, image_id: int = 1) -> tuple[Image.Image, dict[str, Any]]:
        """COCO's panoptic format: the picture of segment ids, and the JSON file's content."""
        return coco_panoptic(self, image_id)

    def to_geojson(self) -> dict[str, Any]:
        """GeoJSON in pixels from the upper left corner: a multipolygon with holes for each word in the picture."""
        return geojson_features(self)

    def to_label_studio(
        self, image: str | None = None, from_name: str = "tag", to_name: str = "image"
    ) -> dict[str, Any]:
        """A Label Studio task with a prediction, see [`label_studio_task`]."""
        return label_studio_task(self, image, from_name, to_name)

    def to_cvat(self, file_name: str | None = None) -> str:
        """CVAT for images 1.1 in XML, with masks."""
        return cvat_annotations(self, file_name)

    def to_pascal_voc(self) -> Image.Image:
        """The ids of Pascal VOC with its palette; words that are none of its classes get 255."""
        return pascal_voc_picture(self)

    def to_cityscapes(self) -> tuple[Image.Image, Image.Image]:
        """The ids and the colours of Cityscapes; words that are none of its classes get 0."""
        return cityscapes_pictures(self)

    def to_supervision(self) -> Any:
        """A `supervision.Detections` with one mask a word that is in the picture.

        Raises:
            ImportError: The package `supervision` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "Detections are an object of the package supervision: pip install supervision."
            ) from error
        words = list(self)
        return supervision.Detections(
            xyxy=np.array([word.box for word in words], dtype=np.float32).reshape(-1, 4),
            mask=np.array([word.mask for word in words]).reshape(-1, *self.label_map.shape),
            confidence=np.array([word.score for word in words], dtype=np.float32),
            class_id=np.array([word.class_id for word in words], dtype=int),
            data={"class_name": np.array([word.name for word in words])},
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.label_map, dtype=dtype)


__all__ = ["SegmentedWord", "Segmentation"]
