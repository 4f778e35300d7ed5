# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and label maps of every kind in, label maps at the pictures' own sizes out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.utils import is_torchvision_available

from fgaseg_hf.model.image_processing_fgaseg import FGASegImageProcessor, FGASegImageProcessorPil
from fgaseg_hf.model.picture_arrays import picture_to_array, picture_to_rgb
from fgaseg_hf.model.picture_reading import open_picture
from fgaseg_hf.model.semantic_postprocessing import UNLABELLED_ID

CLASSES = [FGASegImageProcessorPil] + ([FGASegImageProcessor] if is_torchvision_available() else [])
# Pillow's modes that a picture can be made in.
MODES = [
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "RGBX",
    "RGBa",
    "La",
    "I;16",
]
EXIF_ORIENTATION = 274


@pytest.fixture(params=CLASSES)
def processor(request: pytest.FixtureRequest) -> FGASegImageProcessorPil:
    return request.param(size={"height": 16, "width": 12})


def random_rgb(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.randint(0, 256, (height, width, 3), dtype=np.uint8)


def labels_of(processor: Any, label_map: Any, picture: Any = None, **kwargs: Any) -> torch.Tensor:
    picture = Image.new("RGB", (4, 3)) if picture is None else picture
    return processor(picture, label_map, return_tensors="pt", **kwargs)["labels"][0]


# Pictures


def test_pixel_values_are_clips_normalisation(processor: FGASegImageProcessorPil) -> None:
    picture = Image.new("RGB", (30, 20), (255, 0, 51))
    batch = processor(picture, return_tensors="pt")
    assert list(batch) == ["pixel_values"]
    assert batch["pixel_values"].shape == (1, 3, 16, 12)
    assert batch["pixel_values"].dtype == torch.float32
    expected = (np.array([1.0, 0.0, 0.2]) - OPENAI_CLIP_MEAN) / OPENAI_CLIP_STD
    np.testing.assert_allclose(batch["pixel_values"][0, :, 5, 5], expected, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_is_taken(processor: FGASegImageProcessorPil, mode: str) -> None:
    picture = Image.new(mode, (30, 20))
    assert picture_to_rgb(picture).mode == "RGB"
    pixel_values = processor(picture, return_tensors="pt")["pixel_values"]
    assert pixel_values.shape == (1, 3, 16, 12)
    assert pixel_values.isfinite().all()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr", "LAB", "RGBA"])
def test_modes_keep_their_colours(mode: str) -> None:
    grey = Image.new("RGB", (6, 4), (120, 120, 120))
    if mode == "LAB":
        # 120 of 255 in sRGB is a lightness of 50 %.
        converted = Image.new("LAB", (6, 4), (128, 128, 128))
    elif mode == "P":
        converted = grey.convert("P", palette=Image.Palette.ADAPTIVE)
    else:
        converted = grey.convert(mode)
    difference = np.abs(np.asarray(picture_to_rgb(converted), dtype=int) - 120)
    assert difference.max() <= 2


def test_transparency_lies_on_white() -> None:
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert np.asarray(picture_to_rgb(half_red))[0, 0].tolist() == [255, 127, 127]
    assert np.asarray(picture_to_rgb(Image.new("LA", (2, 2), (0, 0))))[0, 0].tolist() == [255, 255, 255]
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30])
    palette.info["transparency"] = 0
    assert np.asarray(picture_to_rgb(palette))[0, 0].tolist() == [255, 255, 255]

    as_array = picture_to_array(np.asarray(half_red))
    assert as_array[:, 0, 0].tolist() == [255, 127, 127]
    as_fractions = picture_to_array(np.asarray(half_red) / 255, values_are_fractions=True)
    np.testing.assert_allclose(as_fractions[:, 0, 0], [1, 127 / 255, 127 / 255])


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0, 65535, 32896]], np.uint16), [0, 255, 128]),
        (np.array([[0, 65535, 200]], np.int32), [0, 255, 1]),
        (np.array([[0, 255, 200]], np.int32), [0, 255, 200]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 65535, 257]], np.float32), [0, 255, 1]),
        (np.array([[False, True, True]]), [0, 255, 255]),
    ],
)
def test_sixteen_bits_are_scaled(stored: np.ndarray, expected: list[int]) -> None:
    assert np.asarray(picture_to_rgb(Image.fromarray(stored)))[0, :, 0].tolist() == expected
    if stored.dtype.kind != "f":
        assert picture_to_array(stored)[0, 0].tolist() == expected


def test_sixteen_bit_files_equal_their_eight_bit_twins(tmp_path: Path, processor: FGASegImageProcessorPil) -> None:
    grey = random_rgb()[..., 0]
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    assert Image.open(tmp_path / "16.png").mode.startswith("I")
    eight, sixteen = (processor(str(tmp_path / f"{bits}.png"))["pixel_values"][0] for bits in (8, 16))
    np.testing.assert_array_equal(eight, sixteen)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(random_rgb(4, 6))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    picture.save(tmp_path / "turned.png", exif=exif)
    opened = open_picture(tmp_path / "turned.png")
    assert opened.size == ((6, 4) if orientation <= 4 else (4, 6))
    assert opened.getexif().get(EXIF_ORIENTATION, 1) == 1
    turned_by_hand = {3: np.rot90(picture, 2), 6: np.rot90(picture, -1), 8: np.rot90(picture, 1)}
    if orientation in turned_by_hand:
        np.testing.assert_array_equal(np.asarray(opened), turned_by_hand[orientation])
    np.testing.assert_array_equal(picture_to_array(Image.open(tmp_path / "turned.png")).transpose(1, 2, 0), opened)


def test_kinds_of_picture_are_equal(tmp_path: Path, processor: FGASegImageProcessorPil) -> None:
    pixels = random_rgb()
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    expected = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    kinds = [
        path,
        str(path),
        pixels,
        pixels.transpose(2, 0, 1),
        torch.from_numpy(pixels),
        torch.from_numpy(pixels).permute(2, 0, 1),
        pixels[None],
        [[Image.open(path)]],
    ]
    for kind in kinds:
        torch.testing.assert_close(processor(kind, return_tensors="pt")["pixel_values"], expected, atol=0, rtol=0)
    together = processor([kind for kind in kinds if not isinstance(kind, list)], return_tensors="pt")["pixel_values"]
    assert together.shape == (7, 3, 16, 12)

    # Floating-point values are resized without being rounded to 8 bits.
    in_range = processor(pixels.astype(np.float32), return_tensors="pt")["pixel_values"]
    fractions = processor(torch.from_numpy(pixels) / 255, do_rescale=False, return_tensors="pt")["pixel_values"]
    half = processor((torch.from_numpy(pixels) / 255).bfloat16(), do_rescale=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(in_range, fractions, atol=1e-4, rtol=0)
    torch.testing.assert_close(in_range, expected, atol=0.02, rtol=0)
    torch.testing.assert_close(half, expected, atol=0.05, rtol=0)


def test_each_step_can_be_switched_off(processor: FGASegImageProcessorPil) -> None:
    pixels = random_rgb()
    raw = processor(pixels, do_resize=False, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"]
    np.testing.assert_array_equal(raw[0], pixels.transpose(2, 0, 1))
    grey = processor(pixels[..., 0], do_convert_rgb=False, do_normalize=False, return_tensors="pt")["pixel_values"]
    assert grey.shape == (1, 1, 16, 12)


def test_shortest_edge_keeps_the_proportions(processor: FGASegImageProcessorPil) -> None:
    batch = processor(
        Image.new("RGB", (40, 20)), Image.new("L", (40, 20), 7), size={"shortest_edge": 10}, return_tensors="pt"
    )
    assert batch["pixel_values"].shape == (1, 3, 10, 20)
    assert batch["labels"].shape == (1, 10, 20)


def test_one_pixel_is_a_picture(processor: FGASegImageProcessorPil) -> None:
    assert processor(Image.new("RGB", (1, 1)), return_tensors="pt")["pixel_values"].shape == (1, 3, 16, 12)
    assert processor(np.zeros((1, 500, 3), np.uint8), return_tensors="pt")["pixel_values"].shape == (1, 3, 16, 12)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("RGB", (0, 5)), "0 x 5"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
        (torch.zeros(3, 5, 0, dtype=torch.uint8), r"\(3, 5, 0\)"),
        (np.zeros((7, 8, 9), np.uint8), r"\(7, 8, 9\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.full((4, 4), np.nan, np.float32), "finite"),
        (np.random.rand(4, 4, 3), "do_rescale=False"),
        (np.full((4, 4, 3), -3, np.int64), "-3"),
        (np.full((4, 4, 3), 70000, np.int64), "70000"),
        ("no/such/picture.png", "no/such/picture.png"),
        (3.5, "float"),
        ([], "empty"),
    ],
)
def test_unusable_pictures_are_refused(processor: FGASegImageProcessorPil, picture: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        processor(picture)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_broken_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ValueError, match="broken.png"):
        open_picture(tmp_path / "broken.png")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "truncated.jpg"
    Image.fromarray(random_rgb(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="truncated.jpg"):
        FGASegImageProcessorPil()(path)


def test_the_message_names_the_picture(processor: FGASegImageProcessorPil) -> None:
    with pytest.raises(ValueError, match="Picture 2 "):
        processor([Image.new("RGB", (4, 4)), Image.new("RGB", (0, 4))])


# Label maps


@pytest.mark.parametrize(
    "label_map",
    [
        Image.fromarray(np.array([[0, 1], [254, 255]], np.uint8)),
        np.array([[0, 1], [846, 65535]], np.uint16),
        Image.fromarray(np.array([[0, 1], [846, 65535]], np.uint16)),
        Image.fromarray(np.array([[0, 1], [846, 70000]], np.int32)),
        np.array([[0, 1], [-100, 2**40 + 1]]),
        torch.tensor([[0, 1], [846, 7]]),
        np.array([[0.0, 1.0], [846.0, 7.0]]),
        np.array([[False, True], [True, False]]),
    ],
)
def test_ids_of_any_width_are_kept(processor: FGASegImageProcessorPil, label_map: Any) -> None:
    labels = labels_of(processor, label_map, Image.new("RGB", (2, 2)), size={"height": 4, "width": 4})
    assert labels.dtype == torch.int64
    expected = np.asarray(label_map).astype(np.int64).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(labels, expected)


def test_palette_files_keep_their_ids(tmp_path: Path, processor: FGASegImageProcessorPil) -> None:
    ids = np.random.randint(0, 200, (3, 4), dtype=np.uint8)
    palette = Image.fromarray(ids)
    palette.putpalette(np.random.randint(0, 256, 768, dtype=np.uint8).tobytes())
    assert palette.mode == "P"
    palette.save(tmp_path / "map.png")
    np.testing.assert_array_equal(labels_of(processor, tmp_path / "map.png", do_resize=False), ids)
    np.testing.assert_array_equal(labels_of(processor, palette, do_resize=False), ids)


def test_resizing_makes_no_new_ids(processor: FGASegImageProcessorPil) -> None:
    ids = np.random.choice([0, 3, 255, 846], (37, 53))
    labels = labels_of(processor, ids, Image.new("RGB", (53, 37)))
    assert labels.shape == (16, 12)
    assert set(labels.unique().tolist()) <= {0, 3, 255, 846}
    rows = ((np.arange(16) + 0.5) * 37 / 16).astype(int)
    columns = ((np.arange(12) + 0.5) * 53 / 12).astype(int)
    np.testing.assert_array_equal(labels, ids[np.ix_(rows, columns)])


def test_batches_of_label_maps(processor: FGASegImageProcessorPil) -> None:
    pictures = torch.zeros(2, 3, 20, 30, dtype=torch.uint8)
    ids = torch.randint(0, 9, (2, 20, 30))
    for label_maps in (ids, list(ids), ids[:, None], ids[..., None], [Image.fromarray(m.byte().numpy()) for m in ids]):
        batch = processor(pictures, label_maps, do_resize=False, return_tensors="pt")
        assert torch.equal(batch["labels"], ids)


def test_label_maps_follow_exif_orientation(tmp_path: Path, processor: FGASegImageProcessorPil) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(random_rgb(4, 6)).save(tmp_path / "picture.png", exif=exif)
    upright_ids = np.arange(24).reshape(6, 4)
    labels = labels_of(processor, upright_ids, tmp_path / "picture.png", do_resize=False)
    np.testing.assert_array_equal(labels, upright_ids)
    with pytest.raises(ValueError, match="EXIF"):
        labels_of(processor, upright_ids.T, tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (Image.new("RGB", (4, 3)), "RGB"),
        (np.zeros((3, 4, 3), np.uint8), "segmentation maps? |shape"),
        ([np.zeros((3, 4, 3), np.uint8)], "shape"),
        (Image.new("L", (3, 4)), "4 x 3"),
        ([Image.new("L", (4, 3))] * 2, "2 segmentation maps for 1 picture"),
        (np.full((3, 4), 0.5), "whole numbers"),
        (np.zeros((3, 0)), r"\(3, 0\)"),
    ],
)
def test_unusable_label_maps_are_refused(processor: FGASegImageProcessorPil, label_map: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels_of(processor, label_map)


def test_cropping_label_maps_is_refused(processor: FGASegImageProcessorPil) -> None:
    with pytest.raises(ValueError, match="do_center_crop"):
        labels_of(processor, Image.new("L", (4, 3)), do_center_crop=True, crop_size={"height": 2, "width": 2})


# Post-processing


def resize_everything(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0].argmax(dim=0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    num_classes=st.integers(1, 9),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    target_height=st.integers(1, 40),
    target_width=st.integers(1, 40),
    chunk_size=st.none() | st.integers(1, 10),
    with_ties=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_chunks_give_what_resizing_everything_gives(
    num_classes: int,
    height: int,
    width: int,
    target_height: int,
    target_width: int,
    chunk_size: int | None,
    with_ties: bool,
    seed: int,
) -> None:
    logits = torch.randn(2, num_classes, height, width, generator=torch.Generator().manual_seed(seed))
    if with_ties:
        logits = logits.round()
    sizes = [(target_height, target_width), (target_width, target_height)]
    maps = FGASegImageProcessorPil().post_process_semantic_segmentation(logits, sizes, class_chunk_size=chunk_size)
    for label_map, picture_logits, size in zip(maps, logits, sizes, strict=True):
        assert label_map.dtype == torch.int64
        # Another order of operations rounds otherwise, so of classes that are level another may win.
        resized = F.interpolate(picture_logits[None], size=size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(resized.gather(0, label_map[None])[0], resized.amax(dim=0), atol=1e-5, rtol=0)


def test_scores_of_dropped_classes_never_win() -> None:
    logits = torch.full((1, 4, 3, 5), torch.finfo(torch.float32).min)
    logits[:, 2] = -50.0
    maps = FGASegImageProcessorPil().post_process_semantic_segmentation(logits, [(17, 23)], class_chunk_size=1)
    assert (maps[0] == 2).all()


def test_inputs_and_sizes_of_post_processing(processor: FGASegImageProcessorPil) -> None:
    logits = torch.randn(2, 5, 4, 6)
    own_size = processor.post_process_semantic_segmentation(logits)
    assert torch.equal(torch.stack(own_size), logits.argmax(dim=1))
    for outputs in (SimpleNamespace(logits=logits), {"logits": logits}):
        assert torch.equal(processor.post_process_semantic_segmentation(outputs)[1], own_size[1])
    sizes = [(7, 9), (20, 11)]
    for target_sizes in (sizes, torch.tensor(sizes), np.array(sizes)):
        maps = processor.post_process_semantic_segmentation(logits, target_sizes)
        assert [tuple(label_map.shape) for label_map in maps] == sizes
    half = processor.post_process_semantic_segmentation(logits.bfloat16(), sizes)
    assert torch.equal(half[0], resize_everything(logits.bfloat16().float()[0], sizes[0]))


def test_scores_are_returned_on_request(processor: FGASegImageProcessorPil) -> None:
    logits = torch.randn(1, 5, 4, 6)
    (result,) = processor.post_process_semantic_segmentation(
        logits, [(9, 8)], return_segmentation_scores=True, class_chunk_size=2
    )
    expected = F.interpolate(logits, size=(9, 8), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(result.segmentation_scores, expected)
    assert torch.equal(result.segmentation, expected.argmax(dim=0))


def test_threshold_leaves_pixels_unlabelled(processor: FGASegImageProcessorPil) -> None:
    logits = torch.tensor([[[[2.0, -2.0]], [[-3.0, -1.0]]]])
    threshold = processor.post_process_semantic_segmentation(logits, threshold=0.5)
    assert threshold[0].tolist() == [[0, UNLABELLED_ID]]
    assert processor.post_process_semantic_segmentation(logits, threshold=0.0)[0].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("outputs", "kwargs", "message"),
    [
        (torch.zeros(2, 3, 4, 4), {"target_sizes": [(5, 5)]}, "1 target sizes for 2 pictures"),
        (torch.zeros(2, 3, 4, 4), {"target_sizes": (120, 160)}, r"`target_sizes` is \(120, 160\): give one"),
        (torch.zeros(1, 3, 4, 4), {"target_sizes": [(5.5, 5)]}, r"\(5.5, 5\)"),
        (torch.zeros(1, 3, 4, 4), {"target_sizes": ["ab"]}, "height and width"),
        (torch.zeros(1, 3, 4, 4), {"threshold": "0.5"}, "'0.5'"),
        (torch.zeros(1, 3, 4, 4), {"threshold": 0.5, "dtype": torch.uint8}, "cannot hold -1"),
        (torch.zeros(1, 300, 4, 4), {"dtype": torch.uint8}, "cannot number"),
        (torch.zeros(1, 3, 4, 4, device="meta"), {}, "meta"),
        (torch.zeros(1, 3, 4, 4), {"target_sizes": [(5, 0)]}, r"\(5, 0\)"),
        (torch.zeros(1, 3, 4, 4), {"target_sizes": [(5, 5, 3)]}, r"\(5, 5, 3\)"),
        (torch.zeros(1, 3, 4, 4), {"threshold": 1.5}, "1.5"),
        (torch.zeros(1, 3, 4, 4), {"class_chunk_size": 0}, "class_chunk_size"),
        (torch.full((1, 3, 4, 4), torch.nan), {}, "not numbers"),
        (torch.full((1, 3, 4, 4), torch.nan), {"return_segmentation_scores": True}, "not numbers"),
        (torch.zeros(1, 0, 4, 4), {}, "class"),
        (torch.zeros(3, 4, 4), {}, r"\(3, 4, 4\)"),
        ({"loss": 1}, {}, "no logits"),
    ],
)
def test_unusable_outputs_are_refused(outputs: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FGASegImageProcessorPil().post_process_semantic_segmentation(outputs, **kwargs)


# Saving, backends


def test_saving_and_loading_is_exact(tmp_path: Path) -> None:
    processor = FGASegImageProcessorPil(size={"height": 10, "width": 14}, resample=3, do_rescale=False)
    processor.save_pretrained(tmp_path)
    loaded = FGASegImageProcessorPil.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    pixels = random_rgb()
    np.testing.assert_array_equal(loaded(pixels)["pixel_values"], processor(pixels)["pixel_values"])


def test_the_saved_name_fits_both_backends(tmp_path: Path) -> None:
    assert FGASegImageProcessorPil().to_dict()["image_processor_type"] == "FGASegImageProcessor"
    FGASegImageProcessorPil().save_pretrained(tmp_path)
    expected = FGASegImageProcessor if is_torchvision_available() else FGASegImageProcessorPil
    assert type(FGASegImageProcessor.from_pretrained(tmp_path)) is expected
    assert type(FGASegImageProcessor()) is expected


def test_shared_code_names_the_backend_that_is_everywhere() -> None:
    processor = FGASegImageProcessorPil()
    processor.auto_map = {"AutoImageProcessor": "someone/model--image_processing_fgaseg.FGASegImageProcessorPil"}
    reference = "someone/model--image_processing_fgaseg.FGASegImageProcessorPil"
    # What stands second would be taken where torchvision is installed.
    assert processor.to_dict()["auto_map"] == {"AutoImageProcessor": [reference, None]}


@pytest.mark.parametrize("name", ["reduce_labels", "keep_aspect_ratio"])
def test_settings_of_other_processors_are_refused_by_name(tmp_path: Path, name: str) -> None:
    FGASegImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"no setting `{name}`"):
        FGASegImageProcessorPil.from_pretrained(tmp_path, **{name: True})
