# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Files as they are: damaged metadata, several frames, 12 bits in 16, data addresses, pictures that are too large."""

import base64
import io
import logging
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fgaseg_hf import FGASegImageProcessorPil
from fgaseg_hf.inference.visualization import draw_overlay
from fgaseg_hf.model import picture_arrays, picture_reading, sixteen_bits
from fgaseg_hf.model.label_map_reading import label_map_to_array
from fgaseg_hf.model.picture_arrays import channel_layout, picture_to_array, picture_to_rgb, read_rgb
from fgaseg_hf.model.picture_reading import open_picture


class Warnings(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def said() -> Any:
    handler = Warnings()
    loggers = [picture_reading.logger, picture_arrays.logger, sixteen_bits.logger]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.messages
    for logger in loggers:
        logger.removeHandler(handler)


def tiff_block(tags: dict[int, tuple[int, int, bytes]]) -> bytes:
    """An EXIF block: of each tag its type, count and four bytes of value or offset."""
    entries = b"".join(
        struct.pack("<HHI", tag, *description[:2]) + description[2] for tag, description in sorted(tags.items())
    )
    rationals = struct.pack("<ii", -1, 0)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + rationals


def damaged_exif(orientation: int) -> bytes:
    """An orientation, and a resolution of -1/0."""
    tags = {
        0x0112: (3, 1, struct.pack("<HH", orientation, 0)),
        # The rational lies behind two entries of 12 bytes, their count and the next block's place.
        0x011A: (5, 1, struct.pack("<I", 8 + 2 + 24 + 4)),
    }
    return b"Exif\0\0" + tiff_block(tags)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_damaged_exif_leaves_the_picture_upright(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (96, 64), "red").save(path, exif=damaged_exif(6))
    assert open_picture(path).size == (64, 96)
    assert FGASegImageProcessorPil()(path)["pixel_values"][0].shape == (3, 384, 384)
    if suffix != "png":  # whose checks of every chunk would find it
        path.write_bytes(path.read_bytes().replace(b"II*\0", b"II+\0"))
        assert open_picture(path).size == (96, 64)


def test_other_damaged_metadata_leave_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    for metadata in (
        {"icc_profile": b"no profile" * 9},
        {"xmp": b"<x:xmpmeta tiff:Orientation='\xff'"},
        {"exif": b"x"},
    ):
        Image.new("RGB", (9, 6), "red").save(path, **metadata)
        assert np.abs(np.asarray(read_rgb(path), int) - (255, 0, 0)).max() < 5
    tiff = tmp_path / "picture.tif"
    Image.new("RGB", (9, 6), "red").save(tiff, tiffinfo={0x0112: 6, 0x8769: 2**20})
    assert open_picture(tiff).size == (6, 9)


def test_a_tiff_is_turned_once(tmp_path: Path) -> None:
    pixels = np.arange(54, dtype=np.uint8).reshape(6, 9)
    Image.fromarray(pixels).save(tmp_path / "picture.tif", tiffinfo={0x0112: 6})
    np.testing.assert_array_equal(open_picture(tmp_path / "picture.tif"), np.rot90(pixels, -1))
    opened = Image.open(tmp_path / "picture.tif")
    for _ in range(2):
        np.testing.assert_array_equal(open_picture(opened), np.rot90(pixels, -1))


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_further_frames_are_spoken_of(tmp_path: Path, said: list[str], suffix: str) -> None:
    frames = [Image.new("RGB", (9, 6), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"frames.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(read_rgb(path), int) - (255, 0, 0)).max() < 5
    assert len(said) == 1 and "3 frames" in said[0] and "frames." in said[0]
    frames[0].save(tmp_path / f"one.{suffix}")
    read_rgb(tmp_path / f"one.{suffix}")
    assert len(said) == 1


@pytest.mark.parametrize(
    ("highest", "bits"), [(255, 8), (1023, 10), (4095, 12), (16383, 14), (16384, 16), (65535, 16), (2048, 12)]
)
def test_sixteen_bit_files_are_read_by_the_bits_that_they_use(
    tmp_path: Path, said: list[str], highest: int, bits: int
) -> None:
    values = np.array([[0, highest // 2, highest]], np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    expected = np.rint(values.astype(float) * 255 / (2**bits - 1)).tolist()
    assert np.asarray(read_rgb(tmp_path / "grey.png"))[..., 0].tolist() == expected
    assert picture_to_array(values)[0].tolist() == expected
    assert len(said) == (0 if bits == 16 else 2) and all(f"{bits} bits" in message for message in said)


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a value, of shape (height, width, 2, 3 or 4), which Pillow does not write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def sixteen_bit_tiff(values: np.ndarray, order: str) -> bytes:
    """A TIFF of three colours of 16 bits in one strip, which Pillow does not write."""
    height, width, _ = values.shape
    short = lambda *numbers: (3, len(numbers), numbers)  # noqa: E731
    tags = {256: short(width), 257: short(height), 258: (3, 3, (122,)), 259: short(1), 262: short(2)}
    tags |= {273: (4, 1, (128,)), 277: short(3), 278: short(height), 279: (4, 1, (values.size * 2,))}
    mark = b"II*\0" if order == "<" else b"MM\0*"
    block = struct.pack(order + "H", len(tags))
    for tag, (kind, count, numbers) in sorted(tags.items()):
        is_short = kind == 3 and count == 1
        block += struct.pack(order + "HHI", tag, kind, count)
        block += struct.pack(order + ("HH" if is_short else "I"), *numbers, *([0] if is_short else []))
    # The block begins at 8 and ends at 8 + 2 + 9 entries of 12 + 4 = 122, where the bits of each colour lie.
    content = mark + struct.pack(order + "I", 8) + block + bytes(4) + struct.pack(order + "HHH", 16, 16, 16)
    assert len(content) == 128
    return content + values.astype(order + "u2").tobytes()


@pytest.mark.parametrize("kind", ["png", "tif <", "tif >"])
@pytest.mark.parametrize(("highest", "bits"), [(4095, 12), (65535, 16), (1000, 10), (200, 8)])
def test_colours_of_sixteen_bits_are_read_by_the_bits_that_they_use(
    tmp_path: Path, said: list[str], kind: str, highest: int, bits: int
) -> None:
    values = np.random.default_rng(0).integers(0, highest + 1, (5, 7, 3)).astype(np.uint16)
    values[0, 0] = highest
    path = tmp_path / f"colours.{kind[:3]}"
    path.write_bytes(sixteen_bit_png(values) if kind == "png" else sixteen_bit_tiff(values, kind[-1]))
    expected = np.rint(values.astype(float) * 255 / (2**bits - 1))
    opened = Image.open(path)
    # Twice the same opened one, of which the second time nothing is left to decode.
    for source in (path, io.BytesIO(path.read_bytes()), opened, opened):
        picture = Image.open(source) if isinstance(source, io.BytesIO) else source
        np.testing.assert_array_equal(read_rgb(picture), expected)
    # As arrays of the same values.
    np.testing.assert_array_equal(picture_to_array(values), expected.transpose(2, 0, 1))
    assert all(f"{bits} bits" in message for message in said) and bool(said) == (bits < 16)


@pytest.mark.parametrize("channels", [2, 4])
def test_opacity_of_sixteen_bits_counts_by_itself(tmp_path: Path, channels: int) -> None:
    values = np.full((2, 2, channels), 2048, np.uint16)
    values[0, 0, :-1] = 4095
    values[..., -1] = [[65535, 65535], [0, 32768]]
    (tmp_path / "clear.png").write_bytes(sixteen_bit_png(values))
    half = round(2048 * 255 / 4095)
    assert np.asarray(read_rgb(tmp_path / "clear.png"))[..., 0].tolist() == [
        [255, half],
        [255, round((half * 128 + 255 * 127) / 255)],
    ]


def test_the_bits_that_a_tiff_declares_are_believed(tmp_path: Path, said: list[str]) -> None:
    # Two values of 12 bits, 0x3ff and 0x7ff, in three bytes.
    block = {
        256: (3, 1, struct.pack("<HH", 2, 0)),
        257: (3, 1, struct.pack("<HH", 1, 0)),
        258: (3, 1, struct.pack("<HH", 12, 0)),
        259: (3, 1, struct.pack("<HH", 1, 0)),
        262: (3, 1, struct.pack("<HH", 1, 0)),
        273: (4, 1, struct.pack("<I", 200)),
        277: (3, 1, struct.pack("<HH", 1, 0)),
        278: (3, 1, struct.pack("<HH", 1, 0)),
        279: (4, 1, struct.pack("<I", 3)),
    }
    content = tiff_block(block).ljust(200, b"\0") + bytes([0x1F, 0xF3, 0xFF])
    (tmp_path / "twelve.tif").write_bytes(content)
    values = np.asarray(Image.open(tmp_path / "twelve.tif"))
    assert values.max() < 1024
    expected = np.rint(values.astype(float) * 255 / 4095).tolist()
    assert np.asarray(read_rgb(tmp_path / "twelve.tif"))[..., 0].tolist() == expected
    assert not said


def test_overlays_read_as_all_doors_do() -> None:
    grey = Image.fromarray(np.full((8, 8), 32896, np.uint16))
    assert grey.mode == "I;16"
    overlay = draw_overlay(grey, np.zeros((8, 8), int), ["sky"], alpha=0)
    assert overlay.getpixel((4, 4)) == (128, 128, 128)
    transparent = draw_overlay(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), np.zeros((8, 8), int), ["sky"], alpha=0)
    assert transparent.getpixel((4, 4)) == (255, 255, 255)


def png(width: int, height: int) -> bytes:
    """The beginning of a PNG of this size: enough to be refused."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [13_400, 30_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    (tmp_path / "large.png").write_bytes(png(side, side))
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it is decoded"))
    with pytest.raises(ValueError, match=r"large.png.*MAX_IMAGE_PIXELS"):
        open_picture(tmp_path / "large.png")


def test_the_limit_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "picture.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(ValueError, match="300"):
        open_picture(tmp_path / "picture.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert open_picture(tmp_path / "picture.png").size == (20, 20)


def test_programs_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "picture.eps").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match="programs"):
        open_picture(tmp_path / "picture.eps")


def test_base64_and_data_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(np.random.randint(0, 256, (7, 9, 3), np.uint8))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    encoded = base64.b64encode(stream.getvalue()).decode()
    lines = "\n".join(re.findall(".{1,76}", encoded))
    for source in (encoded, lines, f"data:image/png;base64,{encoded}", f"data:;base64,{lines}"):
        np.testing.assert_array_equal(read_rgb(source), picture)
    # A file of that name comes first.
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (2, 2)).save("a" * 60, "PNG")
    assert read_rgb("a" * 60).size == (2, 2)


@pytest.mark.parametrize(
    "source",
    ["A" * 600_000, "data:image/png;base64," + "A" * 600_000, "data:x", "data:;base64,A", "/x" * 90_000, "a\0b"],
)
def test_no_message_repeats_a_whole_picture(source: str) -> None:
    with pytest.raises(ValueError) as refusal:
        read_rgb(source)
    assert len(str(refusal.value)) < 400
    with pytest.raises(ValueError) as refusal:
        FGASegImageProcessorPil()(source)
    assert len(str(refusal.value)) < 400


def test_addresses_without_a_server_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="127.0.0.1:9/picture.png"):
        read_rgb("http://127.0.0.1:9/picture.png", timeout=2)


@pytest.mark.parametrize(
    ("kind", "shape", "layout"),
    [
        ("array", (4, 9, 3), "channels_last"),
        ("tensor", (4, 9, 3), "channels_last"),
        ("array", (3, 9, 3), "channels_last"),
        ("tensor", (3, 9, 3), "channels_first"),
        ("array", (3, 9, 4), "channels_first"),
        ("array", (1, 9, 3), "channels_last"),
    ],
)
def test_shapes_of_two_meanings(said: list[str], kind: str, shape: tuple[int, ...], layout: str) -> None:
    picture = np.zeros(shape, np.uint8) if kind == "array" else torch.zeros(shape, dtype=torch.uint8)
    assert channel_layout(picture).value == layout
    assert len(said) == 1 and "input_data_format" in said[0]
    # As Pillow reads the same array.
    if kind == "array" and shape[-1] == 3:
        pixels = np.random.randint(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(picture_to_array(pixels), picture_to_array(Image.fromarray(pixels)))
    assert channel_layout(np.zeros((4, 9, 5))).value == "channels_first" and len(said) <= 2


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.array(["a", "b"]), "real numbers"),
        (np.zeros((4, 4), complex), "real numbers"),
        (np.array([[None]]), "real numbers"),
        (torch.zeros(3, 4, 4, device="meta"), "meta"),
        (torch.zeros(3, 4, 4).to_sparse(), "sparse"),
        (np.random.randn(3, 4, 4) * 2, "from 0 to 255"),
        (np.full((3, 4, 4), np.inf, np.float32), "not finite"),
        (Image.fromarray(np.full((4, 4), np.inf, np.float32)), "values go from"),
        (np.zeros((2, 2, 2, 2, 2), np.uint8), "shape"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        picture_to_array(picture)
    with pytest.raises(ValueError, match=message):
        FGASegImageProcessorPil()(picture)


def test_channels_that_the_mean_does_not_fit() -> None:
    with pytest.raises(ValueError, match="1 channels and `image_mean` 3"):
        FGASegImageProcessorPil()(Image.new("L", (4, 4)), do_convert_rgb=False)
    with pytest.raises(ValueError, match="different sizes"):
        pictures = [Image.new("RGB", (4, 4)), Image.new("RGB", (8, 4))]
        FGASegImageProcessorPil()(pictures, do_resize=False, return_tensors="pt")
    with pytest.raises(ValueError, match="do_resize"):
        FGASegImageProcessorPil()(Image.new("RGB", (4, 4)), do_resize="perhaps")


def test_large_pictures_are_converted_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.randint(0, 256, (37, 11, 4), np.uint8)
    whole = picture_to_rgb(Image.fromarray(pixels))
    monkeypatch.setattr(picture_arrays, "PIXELS_AT_ONCE", 50)
    np.testing.assert_array_equal(picture_to_rgb(Image.fromarray(pixels)), whole)


# Label maps


def test_labels_from_one_are_reduced() -> None:
    picture, ids = Image.new("RGB", (2, 2)), np.array([[0, 1], [2, 150]])
    expected = [[255, 0], [1, 149]]
    for processor, settings in (
        (FGASegImageProcessorPil(do_reduce_labels=True, do_resize=False), {}),
        (FGASegImageProcessorPil(do_resize=False), {"do_reduce_labels": True}),
    ):
        batch = processor(picture, ids, return_tensors="pt", **settings)
        assert batch["labels"][0].tolist() == expected
        np.testing.assert_array_equal(batch["pixel_values"], processor(picture, return_tensors="pt")["pixel_values"])
    assert FGASegImageProcessorPil(do_resize=False)(picture, ids)["labels"][0].tolist() == ids.tolist()
    # 255 is a class itself beside 299.
    with pytest.raises(ValueError, match="do_reduce_labels"):
        processor(picture, np.array([[0, 255], [299, 1]]), do_reduce_labels=True)
    assert processor(picture, np.array([[0, 255], [299, 1]]))["labels"][0].tolist() == [[0, 255], [299, 1]]


def test_reduced_labels_are_saved(tmp_path: Path) -> None:
    FGASegImageProcessorPil().save_pretrained(tmp_path)
    assert FGASegImageProcessorPil.from_pretrained(tmp_path, do_reduce_labels=True).do_reduce_labels is True
    FGASegImageProcessorPil(do_reduce_labels=True).save_pretrained(tmp_path)
    assert FGASegImageProcessorPil.from_pretrained(tmp_path).do_reduce_labels is True


@pytest.mark.parametrize("ids", [np.full((2, 2), 1e30), np.full((2, 2), 2**63, np.uint64)])
def test_ids_that_no_class_has_are_refused(ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match="class ids go from"):
        label_map_to_array(ids)
