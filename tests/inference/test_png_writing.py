# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""PNG files in bands: the pixels come back, and the files are not much larger than Pillow's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgaseg_hf.inference.output_marks import is_own_file
from fgaseg_hf.inference.png_writing import write_png


def bands(picture: Image.Image, height: int) -> list[Image.Image]:
    tops = range(0, picture.height, height)
    return [picture.crop((0, top, picture.width, min(top + height, picture.height))) for top in tops]


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (1, 30), (31, 1)])
@pytest.mark.parametrize("height", [1, 7, 100])
def test_the_pixels_come_back(tmp_path: Path, size: tuple[int, int], height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    pixels[: size[1] // 2] //= 64
    write_png(tmp_path / "out.png", size, bands(Image.fromarray(pixels), height))
    assert is_own_file(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as stored:
        stored.load()
        assert stored.mode == "RGB"
        np.testing.assert_array_equal(stored, pixels)


def test_files_are_not_much_larger_than_pillows(tmp_path: Path) -> None:
    slope = np.add.outer(np.arange(200), 2 * np.arange(300))
    noise = np.random.default_rng(0).integers(0, 6, (200, 300, 3))
    picture = Image.fromarray((slope[..., None] % 250 + noise).astype(np.uint8))
    write_png(tmp_path / "bands.png", picture.size, bands(picture, 50))
    picture.save(tmp_path / "pillow.png", compress_level=3)
    assert (tmp_path / "bands.png").stat().st_size < 1.35 * (tmp_path / "pillow.png").stat().st_size


def test_bands_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for wrong, message in (
        ([Image.new("RGB", (3, 4))], "3 wide"),
        ([Image.new("L", (4, 4))], "A band is L"),
        ([Image.new("RGB", (4, 3))], "have 3 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            write_png(tmp_path / "out.png", (4, 4), wrong)
