# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The configurations of training, and that each switch of the paper's ablations changes what it says, nothing else."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation
from fgaseg_hf.training.argument_checks import check_training_arguments
from fgaseg_hf.training.training_arguments import CONFIG_FOLDER, parse_training_arguments, read_model_config


def arguments_of(*words: str) -> Any:
    return parse_training_arguments([*words, "--output_dir", "somewhere"])


def fields_of(*words: str) -> dict[str, Any]:
    return read_model_config(arguments_of(*words)[0])


@pytest.mark.parametrize(("base", "image_size", "patch_size"), [("vitb16_384", 384, 16), ("vitl14_336", 336, 14)])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("fusion", ["cat", "add"])
def test_published_variants(base: str, image_size: int, patch_size: int, fast: bool, fusion: str) -> None:
    files = [f"coco_stuff_{base}"]
    files += [] if fast else ["no_fast"]
    files += [] if fusion == "cat" else ["add"]
    model, data, recipe = arguments_of("--config", *files)
    assert model.clip == f"openai/clip-vit-{'base-patch16' if patch_size == 16 else 'large-patch14-336'}"
    config = FGASegConfig(**read_model_config(model), vision_config={"patch_size": patch_size})
    # the published recipe is the scripts' default, so the files say only what differs
    expected = FGASegConfig(
        image_size=image_size, use_auxiliary_heads=fast, fusion=fusion, vision_config={"patch_size": patch_size}
    )
    assert config.to_dict() == expected.to_dict()
    assert image_size // patch_size == 24
    changed = {
        name
        for part in (data, recipe)
        for field in dataclasses.fields(part)
        if (name := field.name) != "output_dir"
        and getattr(part, name)
        != (field.default if field.default is not dataclasses.MISSING else field.default_factory())
    }
    assert changed == {"benchmark", "evaluation_splits", "num_workers"}


@pytest.mark.parametrize("base", ["vitb16_384", "vitl14_336"])
def test_the_recipes_start_on_the_processes_that_they_are_for(base: str) -> None:
    published, eight = (
        arguments_of("--config", f"coco_stuff_{base}"),
        arguments_of("--config", f"coco_stuff_{base}", "eight_gpus"),
    )
    for num_processes in (1, 2, 4):
        check_training_arguments(*published, num_processes)
    with pytest.raises(ValueError, match="--batch_size 4 is the number of pictures"):
        check_training_arguments(*published, 8)
    check_training_arguments(*eight, 8)
    # as many pictures, evaluated and kept as often
    for name in ("max_steps", "evaluation_steps", "checkpoint_steps"):
        pictures = [getattr(recipe, name) * recipe.batch_size for _, _, recipe in (published, eight)]
        assert pictures[0] == pictures[1]
    assert eight[2].learning_rate == pytest.approx(published[2].learning_rate * 2**0.5, rel=1e-2)
    assert arguments_of("--config", f"coco_stuff_{base}", "bf16")[2].mixed_precision == "bf16"


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_is_read_and_repeats_no_default(path: Path) -> None:
    fields = fields_of("--config", str(path))
    default = FGASegConfig().to_dict()
    assert [name for name, value in fields.items() if default[name] == value] == []
    FGASegConfig(**fields)


def model_of(**fields: Any) -> FGASegForSemanticSegmentation:
    torch.manual_seed(0)
    return FGASegForSemanticSegmentation(tiny_config(**fields))


def shapes_of(model: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.state_dict().items()}


# The paper's ablations: switch, and the beginnings of the parameters that come, go or change their size by it.
SWITCHES = [
    ("p2tformer_num_layers=0", ("fgaseg.p2tformer.",)),
    ("p2tformer_num_layers=2", ("fgaseg.p2tformer.",)),
    ("p2tformer_num_layers=4", ("fgaseg.p2tformer.",)),
    ("p2tformer_num_layers=6", ("fgaseg.p2tformer.",)),
    ("use_alignment_head=false", ("alignment_head.",)),
    (
        "use_local_pseudo_masks=false",
        ("fgaseg.local_pseudo_masks.", "decoder.local_embedding.", "decoder.local_upsampling.", "decoder.fusions."),
    ),
    ("local_kernel_size=1", ("fgaseg.local_pseudo_masks.",)),
    ("local_kernel_size=5", ("fgaseg.local_pseudo_masks.",)),
    ("use_auxiliary_heads=false", ("decoder.auxiliary_heads.",)),
    ("fusion=add", ("decoder.fusions.", "decoder.upsampling_")),
    ("alignment_loss_weight=0.001", ()),
    ("alignment_loss_weight=0.2", ()),
    ("alignment_loss_weight=1", ()),
    ("trainable_clip=none", ()),
    ("num_kept_classes=2", ()),
]


@pytest.mark.parametrize(("switch", "prefixes"), SWITCHES, ids=[switch for switch, _ in SWITCHES])
def test_an_ablation_changes_what_it_says_and_nothing_else(switch: str, prefixes: tuple[str, ...]) -> None:
    name, _, _ = switch.partition("=")
    fields = fields_of("--config_overrides", switch)
    assert list(fields) == [name]
    full, ablated = model_of(), model_of(**fields)

    before, after = full.config.to_dict(), ablated.config.to_dict()
    assert {key for key in before if before[key] != after[key]} == {name}

    before, after = shapes_of(full), shapes_of(ablated)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert all(key.startswith(prefixes) for key in changed), sorted(changed)
    assert bool(changed) == bool(prefixes)
    if not prefixes:
        check_behaviour(full, ablated, name)


def check_behaviour(full: FGASegForSemanticSegmentation, ablated: FGASegForSemanticSegmentation, name: str) -> None:
    """For switches that leave all parameters in place: what differs must be the switch's own effect."""
    ablated.load_state_dict(full.state_dict())
    batch = tiny_inputs() | {"labels": torch.randint(0, 5, (2, 32, 32))}
    outputs = [model.train()(**batch) for model in (full, ablated)]
    for part in ("logits", "segmentation_loss", "alignment_loss"):
        torch.testing.assert_close(getattr(outputs[0], part), getattr(outputs[1], part))
    difference = ablated.config.alignment_loss_weight - full.config.alignment_loss_weight
    expected = outputs[0].loss + difference * outputs[0].alignment_loss
    torch.testing.assert_close(outputs[1].loss, expected)

    trained = [set(model.trainable_parameter_names()) for model in (full, ablated)]
    assert trained[1] <= trained[0]
    frozen = trained[0] - trained[1]
    assert bool(frozen) == (name == "trainable_clip")
    assert all("_model." in key and (".q_proj." in key or ".v_proj." in key) for key in frozen)

    with torch.no_grad():
        kept = [model.eval()(**tiny_inputs()).kept_classes.shape[1] for model in (full, ablated)]
    assert kept == ([5, 2] if name == "num_kept_classes" else [5, 5])
