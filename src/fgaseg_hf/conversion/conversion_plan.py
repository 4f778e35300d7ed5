# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint of others is, and what it becomes here: found out before anything is written."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import CLIPConfig

from ..model.clip_dense_features import default_image_size, is_clip_parameter
from ..model.configuration_fgaseg import FGASegConfig
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from .checkpoint_conversion import convert_released_tensors
from .checkpoint_sources import Checkpoint, find_checkpoint, read_checkpoint, read_json
from .clip_conversion import clip_config_fields, convert_clip_state_dict, has_openai_marks, is_clip_state_dict
from .released_config import released_config

Activation = Literal["gelu", "quick_gelu"]


OPEN_CLIP_CONFIG = "open_clip_config.json"


@dataclass
class ConversionPlan:
    """What was found in a checkpoint, and what becomes of it.

    Attributes:
        source: The file or folder.
        kind: What it is, in words.
        config: The architecture.
        state_dict: Tensors under the names of [`FGASegForSemanticSegmentation`].
        num_tensors: How many tensors the checkpoint holds.
        left_out: Entries that are no weights.
        unexpected: Tensors that have no place in the model.
        missing: Tensors of the model that the checkpoint should hold and does not.
        new: Tensors that start fresh, since CLIP does not have them.
        wrong_shapes: Tensors of another shape than the architecture's, in words.
        not_finite: Tensors with NaN or infinite numbers.
        notes: What was decided without being told by the file.
    """

    source: Path
    kind: str
    config: FGASegConfig
    state_dict: dict[str, torch.Tensor]
    num_tensors: int
    left_out: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    wrong_shapes: list[str] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Writes all of it, a line each; every name is spelt out."""
        vision, text, config = self.config.vision_config, self.config.text_config, self.config
        types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in self.state_dict.values()})
        lines = [
            f"{self.source}: {self.kind}",
            f"image tower: {vision.num_hidden_layers} blocks of width {vision.hidden_size}, "
            f"{vision.num_attention_heads} heads, patches of {vision.patch_size}, positions for {vision.image_size} "
            f"pixels, {vision.hidden_act}",
            f"text tower: {text.num_hidden_layers} blocks of width {text.hidden_size}, {text.num_attention_heads} "
            f"heads, {text.vocab_size} tokens, {text.max_position_embeddings} positions, {text.hidden_act}",
            f"joint space: {config.projection_dim}; pictures at {config.image_size}; guidance from hidden states "
            f"{list(config.guidance_layers or ())}",
            f"blocks: P2Tformer layers {config.p2tformer_num_layers}, alignment head {config.use_alignment_head}, "
            f"local pseudo-masks {config.use_local_pseudo_masks}, auxiliary heads {config.use_auxiliary_heads}, "
            f"fusion {config.fusion}",
            f"tensors: {self.num_tensors} read, {len(self.state_dict)} after conversion, "
            f"{sum(tensor.numel() for tensor in self.state_dict.values()):,} numbers ({', '.join(types)})",
        ]
        for title, entries in (
            ("left out, no weights", self.left_out),
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.wrong_shapes),
            ("not finite", self.not_finite),
            ("fresh", self.new),
        ):
            lines.append(f"{title}: {len(entries) or 'none'}{': ' if entries else ''}{', '.join(entries)}")
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    def check(self, ignore_unexpected: bool = False) -> None:
        """Makes sure that the model will be whole.

        Raises:
            ValueError: A tensor is missing, unexpected, of another shape or not finite.
        """
        problems = {
            "lacks": (self.missing, "give the whole checkpoint of one model"),
            "holds the unexpected": ([] if ignore_unexpected else self.unexpected, "give --ignore-unexpected if so be"),
            "has a wrong shape in": (self.wrong_shapes, "give the checkpoint's own settings with --set"),
            "has NaN or infinite numbers in": (self.not_finite, "give an undamaged checkpoint"),
        }
        for verb, (entries, mend) in problems.items():
            if entries:
                raise ValueError(f"The checkpoint {str(self.source)!r} {verb} {_first_names(entries)}: {mend}.")


def plan_conversion(
    source: str | Path, *, activation: Activation | None = None, overrides: Mapping[str, Any] | None = None
) -> ConversionPlan:
    """Looks into a checkpoint and says what it would become; nothing is written.

    Args:
        source: A file, a folder or an id, see [`find_checkpoint`]: released FGA-seg or CAT-Seg weights, OpenAI's CLIP
            (archive or state dict), OpenCLIP's state dicts, CLIP in the Hub's layout.
        activation: CLIP's activation. `None`: what a folder's config says; QuickGELU for OpenAI's files and for FGA-seg
            and CAT-Seg, which stand on them; GELU, OpenCLIP's default, for all other state dicts.
        overrides: Fields of [`FGASegConfig`] that shapes do not tell; towers as partial dictionaries.

    Raises:
        ValueError: The source cannot be read without running code, or is no checkpoint of these kinds.
    """
    path = find_checkpoint(source)
    checkpoint = read_checkpoint(path)
    fields = dict(overrides or {})
    known = {entry.name for entry in dataclasses.fields(FGASegConfig)}
    for name in fields:
        if name not in known:
            raise ValueError(f"There is no field {name!r} in FGASegConfig: see its documentation for the fields.")
    if checkpoint.config is not None:
        plan = _plan_clip_folder(checkpoint, checkpoint.config, activation, fields)
    elif is_clip_state_dict(checkpoint.tensors):
        plan = _plan_clip_state_dict(checkpoint, activation, fields)
    elif any(name.startswith("sem_seg_head.") for name in checkpoint.tensors):
        plan = _plan_released(checkpoint, activation, fields)
    else:
        raise ValueError(
            f"The tensors in {str(path)!r} are of no known model (the first is {next(iter(checkpoint.tensors))}): give "
            "FGA-seg, CAT-Seg, or CLIP by OpenAI or OpenCLIP; of a model in the Hub's layout, its folder."
        )
    plan.left_out += checkpoint.left_out
    compare_with_model(plan)
    return plan


def _plan_clip_folder(
    checkpoint: Checkpoint, settings: dict[str, Any], activation: Activation | None, overrides: dict[str, Any]
) -> ConversionPlan:
    model_type = settings.get("model_type")
    if model_type == FGASegConfig.model_type:
        raise ValueError(
            f"The folder {str(checkpoint.path)!r} is a FGASeg already: load it as it is, or give --to catseg or --to "
            "fga-seg."
        )
    if model_type != "clip":
        raise ValueError(
            f"The folder {str(checkpoint.path)!r} holds a model of type {model_type!r}: give one of type 'clip'."
        )
    try:
        towers = CLIPConfig.from_dict(settings)
    # Transformers and its checks of types have many exceptions for a field that is wrong.
    except Exception as error:
        raise ValueError(
            f"The config.json of {str(checkpoint.path)!r} does not describe a CLIP ({short_reason(error)}): "
            "download it anew."
        ) from error
    acts = {"hidden_act": activation} if activation else {}
    fields = {
        "text_config": {**towers.text_config.to_dict(), **acts},
        "vision_config": {**towers.vision_config.to_dict(), **acts},
        "projection_dim": towers.projection_dim,
        "logit_scale_init_value": towers.logit_scale_init_value,
    }
    left_out = [name for name in checkpoint.tensors if name.endswith(".position_ids")]
    state_dict = {f"fgaseg.{name}": tensor for name, tensor in checkpoint.tensors.items() if name not in left_out}
    config = _build_clip_config(fields, overrides, checkpoint.path)
    plan = ConversionPlan(checkpoint.path, "CLIP in the Hub's layout", config, state_dict, len(checkpoint.tensors))
    plan.left_out += left_out
    return plan


def _plan_clip_state_dict(
    checkpoint: Checkpoint, activation: Activation | None, overrides: dict[str, Any]
) -> ConversionPlan:
    is_openai = checkpoint.container == "torchscript" or has_openai_marks(checkpoint.tensors)
    if activation is None and not is_openai:
        activation = _activation_beside(checkpoint.path)
    chosen = activation or ("quick_gelu" if is_openai else "gelu")
    config = _build_clip_config(clip_config_fields(checkpoint.tensors, chosen), overrides, checkpoint.path)
    state_dict, left_out, unknown = convert_clip_state_dict(checkpoint.tensors)
    kind = "OpenAI's CLIP" if is_openai else "state dict in OpenCLIP's layout"
    kind += " (TorchScript archive, its code not run)" if checkpoint.container == "torchscript" else ""
    plan = ConversionPlan(
        checkpoint.path, kind, config, state_dict, len(checkpoint.tensors), left_out, unexpected=unknown
    )
    if activation is None and not is_openai:
        plan.notes.append(
            "the activation is not in the file and was taken to be gelu, OpenCLIP's default; give --activation "
            "quick_gelu if the model was trained with QuickGELU (OpenAI's weights, MetaCLIP's, DFN's)"
        )
    return plan


def _activation_beside(path: Path) -> Activation | None:
    """What OpenCLIP's own settings say, where they lie beside the weights."""
    settings_file = (path if path.is_dir() else path.parent) / OPEN_CLIP_CONFIG
    if not settings_file.is_file():
        return None
    settings = read_json(settings_file)
    of_model = settings.get("model_cfg", settings)
    return "quick_gelu" if isinstance(of_model, dict) and of_model.get("quick_gelu") is True else "gelu"


def _plan_released(checkpoint: Checkpoint, activation: Activation | None, overrides: dict[str, Any]) -> ConversionPlan:
    for tower in ("text_config", "vision_config"):
        if activation is not None:
            overrides[tower] = {"hidden_act": activation, **overrides.get(tower, {})}
    try:
        config = released_config(checkpoint.tensors, **overrides)
    except ValueError:
        raise
    # The configuration's checks of types have exceptions of their own.
    except Exception as error:
        raise ValueError(
            f"The settings given for {str(checkpoint.path)!r} do not fit ({short_reason(error)}): change --set."
        ) from error
    state_dict, left_out, unknown = convert_released_tensors(checkpoint.tensors, config)
    kind = "FGA-seg, released layout" if config.use_local_pseudo_masks else "CAT-Seg, released layout"
    return ConversionPlan(
        checkpoint.path, kind, config, state_dict, len(checkpoint.tensors), left_out, unexpected=unknown
    )


def _build_clip_config(fields: dict[str, Any], overrides: dict[str, Any], path: Path) -> FGASegConfig:
    overrides = dict(overrides)
    for tower in ("text_config", "vision_config"):
        fields[tower] = {**fields[tower], **overrides.pop(tower, {})}
    image_size = default_image_size(fields["vision_config"]["patch_size"])
    return build_config({"image_size": image_size, **fields, **overrides}, path)


def build_config(fields: dict[str, Any], path: Path) -> FGASegConfig:
    """Makes the configuration.

    Raises:
        ValueError: The fields that were read at `path` do not describe a FGASeg.
    """
    try:
        return FGASegConfig(**fields)
    except ValueError:
        raise
    # The checks of types have exceptions of their own.
    except Exception as error:
        raise ValueError(
            f"The settings for {str(path)!r} do not describe a FGASeg ({short_reason(error)}): change them."
        ) from error


def compare_with_model(plan: ConversionPlan) -> None:
    """Holds the tensors against the model that the configuration describes, by name, shape and finiteness."""
    with torch.device("meta"):
        expected = FGASegForSemanticSegmentation(plan.config).state_dict()
    absent = sorted(expected.keys() - plan.state_dict.keys())
    has_head = any(not is_clip_parameter(name) for name in plan.state_dict)
    for name in absent:
        (plan.missing if has_head or is_clip_parameter(name) else plan.new).append(name)
    for name, tensor in plan.state_dict.items():
        if name not in expected:
            plan.unexpected.append(name)
        elif tensor.shape != expected[name].shape:
            plan.wrong_shapes.append(f"{name} {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}")
        elif tensor.is_floating_point() and not tensor.isfinite().all():
            plan.not_finite.append(name)


def _first_names(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more (--dry-run names all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def short_reason(error: BaseException) -> str:
    """What an error of a library says, in a part of one sentence."""
    return (" ".join(str(error).split()).rstrip(".") or type(error).__name__)[:200]


__all__ = ["Activation", "ConversionPlan", "build_config", "compare_with_model", "plan_conversion", "short_reason"]
