# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Class names become prompts, prompts become token ids; pictures and names in one call."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_tokenizer import tiny_tokenizer

from fgaseg_hf.model.image_processing_fgaseg import FGASegImageProcessorPil
from fgaseg_hf.model.processing_fgaseg import FGASegProcessor
from fgaseg_hf.model.prompt_tokenizer import DEFAULT_PROMPT_TEMPLATE, check_class_names

NAMES = ["red car", "sky", "blue house, old"]


def make_processor(prompt_templates: list[str] | None = None, model_max_length: int = 32) -> FGASegProcessor:
    image_processor = FGASegImageProcessorPil(size={"height": 16, "width": 16})
    return FGASegProcessor(image_processor, tiny_tokenizer(model_max_length), prompt_templates)


def test_pictures_labels_and_names_in_one_call() -> None:
    processor = make_processor()
    ids = np.random.randint(0, 3, (20, 30))
    batch = processor(images=Image.new("RGB", (30, 20)), text=NAMES, segmentation_maps=ids, return_tensors="pt")
    assert list(batch) == ["pixel_values", "labels", "input_ids", "attention_mask"]
    assert batch["pixel_values"].shape == (1, 3, 16, 16)
    assert batch["labels"].shape == (1, 16, 16)
    assert batch["labels"].dtype == torch.int64
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert len(batch["input_ids"]) == 3


def test_each_half_alone() -> None:
    processor = make_processor()
    assert list(processor(images=Image.new("RGB", (30, 20)))) == ["pixel_values"]
    assert list(processor(text=NAMES)) == ["input_ids", "attention_mask"]
    with pytest.raises(ValueError, match="images"):
        processor()
    with pytest.raises(ValueError, match="segmentation_maps"):
        processor(text=NAMES, segmentation_maps=np.zeros((3, 3)))


def test_prompts_are_the_published_template_padded_to_the_longest() -> None:
    processor = make_processor()
    batch = processor(text=NAMES, return_tensors="pt")
    prompts = [DEFAULT_PROMPT_TEMPLATE.replace("{}", name) for name in NAMES]
    expected = tiny_tokenizer()(prompts, padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert batch["attention_mask"].sum(dim=1).max() == batch["input_ids"].shape[1] < 32


def test_several_templates_make_a_second_axis() -> None:
    templates = ["A photo of a {} in the scene", "{}", "the {} {of} things"]
    batch = make_processor(templates)(text=NAMES, return_tensors="pt")
    assert batch["input_ids"].shape[:2] == (3, 3)
    assert batch["attention_mask"].shape == batch["input_ids"].shape
    length = int(batch["attention_mask"][2, 1].sum())
    assert batch["input_ids"][2, 1, :length].tolist() == tiny_tokenizer()(NAMES[2])["input_ids"]
    assert make_processor(templates)(text=NAMES)["input_ids"] == batch["input_ids"].tolist()


def test_a_single_string_is_a_single_class() -> None:
    processor = make_processor()
    assert processor(text="car, old", return_tensors="pt")["input_ids"].shape[0] == 1
    assert processor(text="car, old")["input_ids"] == processor(text=["car, old"])["input_ids"][0]


def test_keyword_arguments_reach_tokenizer_and_image_processor() -> None:
    processor = make_processor()
    batch = processor(
        images=Image.new("RGB", (30, 20)), text=NAMES, padding="max_length", do_resize=False, return_tensors="pt"
    )
    assert batch["input_ids"].shape == (3, 32)
    assert batch["pixel_values"].shape == (1, 3, 20, 30)
    batch = processor(text=NAMES, text_kwargs={"padding": "max_length", "max_length": 30}, return_tensors="np")
    assert batch["input_ids"].shape == (3, 30)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "empty"),
        (["car", "  "], "name 2 of 2 is blank"),
        (["car", "sky", "car"], "'car' is given twice"),
        (["red car", " Red   Car"], "twice"),
        (["car", ["sky", "clouds"]], "name 2 is a list"),
        (["car", None], "NoneType"),
        ("", "blank"),
    ],
)
def test_unusable_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_processor()(text=names)


def test_too_long_names_are_refused_by_name() -> None:
    long_name = "extraordinarily elongated limousine"
    with pytest.raises(ValueError, match=rf"{long_name}.* tokens but the text tower takes 32"):
        make_processor()(text=["car", long_name])
    # With the limit asked for explicitly, the tokenizer cuts.
    cut = make_processor()(text=["car", long_name], truncation=True, max_length=20, return_tensors="pt")
    assert cut["input_ids"].shape == (2, 20)


def test_names_are_stripped_and_may_hold_braces() -> None:
    assert check_class_names([" red car ", "{} {0}"]) == ["red car", "{} {0}"]
    assert len(make_processor()(text=["{0}"])["input_ids"]) == 1


@pytest.mark.parametrize("templates", [[], ["a photo"], ["{} and {}"], "a {}", [3], ["a {}", ""]])
def test_unusable_templates_are_refused(templates: list[str]) -> None:
    with pytest.raises(ValueError, match="template"):
        make_processor(templates)


def test_saving_and_loading_is_exact(tmp_path: Path) -> None:
    processor = make_processor(["a {} here", "{}"])
    processor.save_pretrained(tmp_path)
    assert (tmp_path / "processor_config.json").is_file()
    # The image processor is found by its class name once the package has registered it.
    image_processor = FGASegImageProcessorPil.from_pretrained(tmp_path)
    loaded = FGASegProcessor.from_pretrained(tmp_path, image_processor=image_processor)
    assert loaded.to_dict() == processor.to_dict()
    assert loaded.prompt_templates == ["a {} here", "{}"]
    assert loaded(text=NAMES)["input_ids"] == processor(text=NAMES)["input_ids"]


def test_post_processing_is_the_image_processors() -> None:
    logits = torch.randn(1, 3, 4, 4)
    (label_map,) = make_processor().post_process_semantic_segmentation(logits, target_sizes=[(8, 6)])
    (expected,) = FGASegImageProcessorPil().post_process_semantic_segmentation(logits, [(8, 6)])
    assert torch.equal(label_map, expected)
