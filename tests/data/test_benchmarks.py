# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Benchmarks as data: class lists, ids, prompts, decodings, and what the command line can say otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Sequence, Value
from datasets import Image as ImageFeature
from PIL import Image
from tiny_models import tiny_processor

from fgaseg_hf.data.augmentation import IGNORED_LABEL
from fgaseg_hf.data.benchmarks import BENCHMARKS, find_benchmark
from fgaseg_hf.data.class_prompts import encode_prompts, first_synonyms, split_synonyms
from fgaseg_hf.data.dataset_loading import DatasetArguments, default_split, load_segmentation_splits
from fgaseg_hf.data.label_decoding import decode_label_map, limit_short_side, voc_palette


@pytest.mark.parametrize(
    ("name", "num_classes", "first", "last", "unlabelled_id"),
    [
        ("coco-stuff", 171, "person", "wood", 255),
        ("a-150", 150, "wall", "flag", 255),
        ("a-847", 847, "wall", "adding machine, totalizer, totaliser", 65535),
        ("pc-59", 59, "aeroplane", "wood", 255),
        ("pc-459", 459, "accordion", "wool", 65535),
        ("pas-20", 20, "aeroplane", "tvmonitor", 255),
        ("pas-20b", 21, "aeroplane", "background", 255),
        ("cityscapes", 19, "road", "bicycle", 255),
    ],
)
def test_class_lists(name: str, num_classes: int, first: str, last: str, unlabelled_id: int) -> None:
    benchmark = find_benchmark(name.upper())
    names = benchmark.class_names
    assert (len(names), names[0], names[-1]) == (num_classes, first, last)
    assert len(set(names)) == num_classes
    id_map = benchmark.id_map
    assert id_map is not None
    assert sorted(id_map.values()) == list(range(num_classes))
    assert benchmark.unlabelled_id == unlabelled_id
    assert not set(id_map) & set(benchmark.ignored_ids or ())


def test_published_ids_of_each_benchmark() -> None:
    def class_ids(name: str, *published: int) -> list[int]:
        return BENCHMARKS[name].to_class_ids(np.array([published]))[0].tolist()

    # COCO-Stuff: the rank among the ids that are left without the holes.
    assert class_ids("coco-stuff", 0, 10, 11, 12, 24, 25, 90, 91, 181, 255) == [
        0,
        10,
        255,
        11,
        23,
        255,
        255,
        80,
        170,
        255,
    ]
    assert class_ids("a-150", 0, 1, 150) == [255, 0, 149]
    assert class_ids("a-847", 2978, 312, 3148, 0, 1, 65535) == [0, 1, 846, 65535, 65535, 65535]
    assert class_ids("pc-59", 0, 2, 9, 458, 1, 459) == [255, 0, 1, 58, 255, 255]
    assert class_ids("pc-459", 0, 1, 459, 460) == [65535, 0, 458, 65535]
    assert class_ids("pas-20", 0, 1, 20, 255) == [255, 0, 19, 255]
    assert class_ids("pas-20b", 0, 1, 20, 255) == [20, 0, 19, 255]
    assert class_ids("cityscapes", 0, 7, 33, 255) == [255, 0, 18, 255]
    for name, unknown in (("coco-stuff", 182), ("a-150", 151), ("pc-459", 461), ("pas-20", 21)):
        with pytest.raises(ValueError, match=f"holds the id {unknown}"):
            class_ids(name, unknown)
    assert BENCHMARKS["a-847"].to_class_ids(np.array([[2978]])).dtype == np.uint16
    assert BENCHMARKS["pas-20"].to_class_ids(np.array([[1]])).dtype == np.uint8


def test_nineteen_classes_share_nine_prompts() -> None:
    benchmark = BENCHMARKS["a-847"]
    prompts = benchmark.prompts_of(benchmark.class_names)
    shared = {prompt for prompt in prompts if prompts.count(prompt) > 1}
    assert len(shared) == 9
    assert sum(prompts.count(prompt) for prompt in shared) == 19
    whole = replace(benchmark, prompted_synonyms="line").prompts_of(benchmark.class_names)
    assert whole == list(benchmark.class_names)
    everything = replace(benchmark, prompted_synonyms="all").prompted_classes(benchmark.class_names)
    assert [class_id for _, class_id in everything] == sorted(class_id for _, class_id in everything)
    for class_id, line in enumerate(benchmark.class_names):
        of_class = [prompt for prompt, prompted in everything if prompted == class_id]
        assert of_class[0] == prompts[class_id]
        assert {prompt.casefold() for prompt in of_class} == {word.strip().casefold() for word in line.split(",")}
    assert first_synonyms(["building, edifice", "sky"]) == ["building", "sky"]


def test_synonyms_of_a_line() -> None:
    assert split_synonyms("building, edifice") == ["building", "edifice"]
    assert split_synonyms("Sky,  sky , blue sky,") == ["Sky", "blue sky"]
    assert split_synonyms(", ") == [", "]


def test_background_prompts_begin_with_the_twenty_classes() -> None:
    benchmark = BENCHMARKS["pas-20b"]
    prompts = benchmark.prompts_of(benchmark.class_names)
    assert len(prompts) == 59
    assert tuple(prompts[:20]) == benchmark.class_names[:20] == BENCHMARKS["pas-20"].class_names
    assert set(prompts) == set(BENCHMARKS["pc-59"].class_names)
    stands_for = [class_id for _, class_id in benchmark.prompted_classes(benchmark.class_names)]
    assert stands_for == [min(place, 20) for place in range(59)]


def test_shared_prompts_have_equal_rows() -> None:
    encoded = encode_prompts(tiny_processor(), ["red car", "sky", "red  car", "Sky"])
    assert set(encoded) == {"input_ids", "attention_mask"}
    assert torch.equal(encoded["input_ids"][:2], encoded["input_ids"][2:])
    alone = tiny_processor()(text=["red car", "sky"], return_tensors="pt")
    assert torch.equal(encoded["input_ids"][:2], alone["input_ids"])
    several = encode_prompts(tiny_processor(prompt_templates=["a {}", "the {}"]), ["sky", "tree", "sky"])
    assert several["input_ids"].shape[:2] == (3, 2)


def test_decodings() -> None:
    ids = np.array([[0, 1], [20, 255]])
    palette = Image.fromarray(ids.astype(np.uint8))
    palette.putpalette(voc_palette().reshape(-1).tolist())
    assert palette.mode == "P"
    for label_map in (palette, palette.convert("RGB"), Image.fromarray(ids.astype(np.uint8))):
        assert decode_label_map(label_map, "voc_colours").tolist() == ids.tolist()
    assert decode_label_map(ids.tolist()).tolist() == ids.tolist()
    # The colours as published: aeroplane, train, tvmonitor, and the border.
    colours = np.array([[[128, 0, 0], [128, 192, 0], [0, 64, 128], [224, 224, 192]]], dtype=np.uint8)
    assert decode_label_map(Image.fromarray(colours), "voc_colours").tolist() == [[1, 19, 20, 255]]
    with pytest.raises(ValueError, match=r"the colour \[1, 2, 3\]"):
        decode_label_map(np.array([[[1, 2, 3]]], dtype=np.uint8), "voc_colours")

    coded = np.array([[[119, 162, 7], [10, 56, 0]]], dtype=np.uint8)
    assert decode_label_map(Image.fromarray(coded), "ade20k_code").tolist() == [[2978, 312]]
    with pytest.raises(ValueError, match="three channels"):
        decode_label_map(Image.new("L", (2, 2)), "ade20k_code")
    with pytest.raises(ValueError, match="decoding is 'colour'"):
        decode_label_map(palette, "colour")  # type: ignore[arg-type]


def test_only_large_pictures_shrink() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8))
    labels = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1000
    for limit in (None, 6, 7):
        assert limit_short_side(picture, labels, limit) == (picture, labels)
    smaller, smaller_labels = limit_short_side(picture, labels, 2)
    assert smaller.size == (3, 2)
    assert np.array_equal(np.asarray(smaller), np.asarray(picture.resize((3, 2), Image.Resampling.BILINEAR)))
    assert smaller_labels.dtype == np.uint16
    # The middle of each block of 3 x 3.
    assert np.array_equal(smaller_labels, labels[1::3, 1::3])


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="no benchmark 'ade'.*a-150"):
        find_benchmark("ade")


def hub_copy(folder: Path, label_maps: list[list[Image.Image]]) -> str:
    """Writes a data set in the columns of the Hub's full ADE20K."""
    features = Features({"image": ImageFeature(), "segmentations": Sequence(ImageFeature()), "name": Value("string")})
    rows = {
        "image": [Image.new("RGB", maps[0].size) for maps in label_maps],
        "segmentations": label_maps,
        "name": ["x"] * len(label_maps),
    }
    (folder / "data").mkdir(parents=True)
    Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / "validation-00000-of-00001.parquet")
    return str(folder)


def test_the_published_form_is_read_as_the_benchmark_says(tmp_path: Path) -> None:
    code = np.zeros((4, 6, 3), dtype=np.uint8)
    code[:, :3] = (119, 162, 7)  # 2978: wall
    code[:, 3:] = (10, 56, 0)  # 312: building
    code[0, 0] = (0, 1, 0)  # an object that is no class
    path = hub_copy(tmp_path / "ade", [[Image.fromarray(code), Image.new("RGB", (6, 4))]])
    arguments = DatasetArguments(benchmark="a-847", dataset=path)
    assert default_split(arguments) == "validation"
    split = load_segmentation_splits(arguments, ["validation"])["validation"]
    assert len(split.class_names) == len(split.prompts or []) == 847
    assert split.max_short_side == 512
    assert split[0][1].tolist() == [[IGNORED_LABEL, 0, 0, 1, 1, 1]] + [[0, 0, 0, 1, 1, 1]] * 3
    assert split.label_map(0).tolist() == split[0][1].tolist()

    # Each field can be said otherwise.
    (tmp_path / "names.txt").write_text("wall, side\nhouse\nother\n")
    (tmp_path / "prompts.txt").write_text("a wall\nbuilding\nbuilding\n")
    (tmp_path / "ids.json").write_text(json.dumps({"312": 2, "1": 1}))
    arguments = DatasetArguments(
        benchmark="a-847",
        dataset=path,
        annotation_column="segmentations[0]",
        decoding="ade20k_code",
        class_names=str(tmp_path / "names.txt"),
        prompts=str(tmp_path / "prompts.txt"),
        id_map=str(tmp_path / "ids.json"),
        ignored_ids=[1],
        background_id=1,
        max_short_side=2,
    )
    split = load_segmentation_splits(arguments, ["validation"])["validation"]
    assert split.prompts == ["a wall", "building", "building"]
    assert split.background_id == 1
    assert split.label_map(0)[1].tolist() == [IGNORED_LABEL] * 3 + [2] * 3
    assert split[0][0].size == (3, 2)
    assert split.class_of_prompt.tolist() == [0, 1, 1]
    arguments.prompts, arguments.prompted_synonyms, arguments.background_id = None, "line", None
    assert load_segmentation_splits(arguments, ["validation"])["validation"].prompts == ["wall, side", "house", "other"]
    arguments.prompted_synonyms = "all"
    split = load_segmentation_splits(arguments, ["validation"])["validation"]
    assert split.prompts == ["wall", "side", "house", "other"]
    assert split.class_of_prompt.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"annotation_column": "segmentations[7]"}, "label map of row 0 cannot be read"),
        ({"annotation_column": "mask"}, "no column 'mask'"),
        ({"background_id": 847}, "--background_id is 847"),
        ({"benchmark": "pc-59", "dataset": None}, "--dataset is missing"),
        ({"prompts": "nowhere.txt"}, "no prompts at nowhere.txt"),
        ({"benchmark": "pas-20", "annotation_column": "segmentations[0]"}, "palette lacks"),
        ({"benchmark": "pas-20", "annotation_column": "segmentations[0]", "decoding": "ade20k_code"}, "the id 2978"),
    ],
)
def test_what_does_not_fit_gets_one_sentence(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    code = np.full((2, 2, 3), (119, 162, 7), dtype=np.uint8)
    path = hub_copy(tmp_path / "ade", [[Image.fromarray(code)]])
    arguments = DatasetArguments(**{"benchmark": "a-847", "dataset": path, **fields})  # type: ignore[arg-type]
    with pytest.raises(ValueError) as error:
        load_segmentation_splits(arguments, ["validation"])["validation"].label_map(0)
    assert message in str(error.value)


def test_prompts_must_fit_the_names(tmp_path: Path) -> None:
    path = hub_copy(tmp_path / "ade", [[Image.new("RGB", (2, 2))]])
    (tmp_path / "prompts.txt").write_text("wall\nwall\n")
    arguments = DatasetArguments(benchmark="a-847", dataset=path, prompts=str(tmp_path / "prompts.txt"))
    with pytest.raises(ValueError, match="2 prompts for 847 class names"):
        load_segmentation_splits(arguments, ["validation"])
