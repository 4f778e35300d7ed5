# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg convert`: any checkpoint that FGASeg can start from becomes a folder of this package, and back."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer, CLIPConfig

from ..model.clip_dense_features import default_image_size, is_clip_parameter
from ..model.configuration_fgaseg import FGASegConfig
from ..model.image_processing_fgaseg import FGASegImageProcessorPil
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..release.card_description import CardDescription
from ..release.checkpoint_inspection import inspect_checkpoint
from ..release.model_card import make_model_card
from .checkpoint_conversion import (
    convert_released_tensors,
    released_config,
    released_layout,
    to_released_state_dict,
)
from .checkpoint_sources import Checkpoint, find_checkpoint, read_checkpoint
from .clip_conversion import clip_config_fields, convert_clip_state_dict, has_openai_marks, is_clip_state_dict

Activation = Literal["gelu", "quick_gelu"]
ReleasedLayout = Literal["catseg", "fga-seg"]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

STANDARD_TOKENIZER = "openai/clip-vit-base-patch16"
STANDARD_VOCABULARY_SIZE = 49408
# Configurations of CLIP that are older than this field's meaning say 2; the text tower then takes the largest id.
_LEGACY_EOS_TOKEN_ID = 2
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


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
    _compare_with_model(plan)
    return plan


def convert_checkpoint(
    source: str | Path,
    out: str | Path,
    *,
    tokenizer: str | Path | None = None,
    activation: Activation | None = None,
    dtype: str = "float32",
    max_shard_size: str = "2GB",
    ignore_unexpected: bool = False,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
) -> ConversionPlan:
    """Converts a checkpoint to a folder with config, safetensors, processor and model card.

    The folder appears when all of it is written, or not at all.

    Args:
        source: See [`plan_conversion`].
        out: The folder to make; it must not exist, or be empty.
        tokenizer: Folder or Hub id of the text tower's tokenizer; the source folder's own or else CLIP's, if not given.
        activation: See [`plan_conversion`].
        dtype: `"float32"`, `"float16"` or `"bfloat16"`.
        max_shard_size: Larger checkpoints are split into files of this size.
        ignore_unexpected: Whether tensors that have no place are dropped (the plan names them) instead of refused.
        seed: Seed of what starts fresh.
        overrides: See [`plan_conversion`].

    Returns:
        What was found.

    Raises:
        ValueError: The source is refused, the tokenizer cannot be had or does not fit, or `out` is taken.
    """
    if dtype not in DTYPES:
        raise ValueError(f"There is no float type {dtype!r}: choose one of {', '.join(DTYPES)}.")
    out = Path(out).absolute()
    _check_free(out)
    plan = plan_conversion(source, activation=activation, overrides=overrides)
    plan.check(ignore_unexpected)
    processor = FGASegProcessor(
        FGASegImageProcessorPil(size={"height": plan.config.image_size, "width": plan.config.image_size}),
        _load_tokenizer(tokenizer, plan),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FGASegForSemanticSegmentation.from_pretrained(
            None,
            config=plan.config,
            state_dict={name: plan.state_dict[name] for name in plan.state_dict if name not in plan.unexpected},
            dtype=DTYPES[dtype],
        )
    with _appearing(out) as unfinished:
        unfinished.mkdir()
        model.save_pretrained(unfinished, max_shard_size=max_shard_size)
        processor.save_pretrained(unfinished)
        card = make_model_card(inspect_checkpoint(unfinished), [], _describe_conversion(plan, source, out.name))
        (unfinished / "README.md").write_text(str(card), encoding="utf-8")
    return plan


def _describe_conversion(plan: ConversionPlan, source: str | Path, name: str) -> CardDescription:
    """What the card of a converted checkpoint says besides its settings; the licence is for its owner to name."""
    # An id of the Hub as it was given; of a file or folder the name, without where it lies on this machine.
    shown = plan.source.resolve().name if Path(source).exists() else str(source)
    summary = f"`{shown}` ({plan.kind}), converted by `fgaseg convert`."
    training = "Its weights are those of the converted checkpoint, which does not tell how they were trained."
    limits = ["Its licence is that of the converted checkpoint: look there, and write it into this card's head."]
    if plan.new:
        summary += " **What CLIP does not have is not trained yet, so its maps mean nothing until it is.**"
        training += f" {len(plan.new)} tensors that CLIP does not have start fresh, from a seed."
    return CardDescription(name=name, license="unknown", summary=summary, training=training, limits=limits)


def export_released_checkpoint(
    source: str | Path, out: str | Path, layout: ReleasedLayout, *, dtype: str | None = None, dry_run: bool = False
) -> int:
    """Writes a folder of this package as a .pth file that the released code loads.

    Args:
        source: A FGASeg folder or Hub id.
        out: The file to write; it must not exist.
        layout: Which released code shall load it.
        dtype: The float type; the folder's own if not given.
        dry_run: Whether to check everything and write nothing.

    Returns:
        How many tensors there are to write.

    Raises:
        ValueError: The folder is no whole FGASeg, or has an architecture that the released code does not have.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"There is no float type {dtype!r}: choose one of {', '.join(DTYPES)}.")
    out = Path(out)
    _check_free(out)
    checkpoint = read_checkpoint(find_checkpoint(source))
    if checkpoint.config is None or checkpoint.config.get("model_type") != FGASegConfig.model_type:
        raise ValueError(f"The source {str(source)!r} is no FGASeg folder: only these can go back to {layout}.")
    config = _build_config(checkpoint.config, checkpoint.path)
    if (found := released_layout(config)) != layout:
        raise ValueError(f"The model {str(source)!r} has the blocks of {found}: give --to {found}.")
    plan = ConversionPlan(checkpoint.path, "FGASeg", config, checkpoint.tensors, len(checkpoint.tensors))
    _compare_with_model(plan)
    plan.missing += plan.new
    plan.check()
    released = to_released_state_dict(checkpoint.tensors, config, None if dtype is None else DTYPES[dtype])
    if not dry_run:
        with _appearing(out) as unfinished:
            torch.save({"model": released}, unfinished)
    return len(released)


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
            f"The config.json of {str(checkpoint.path)!r} does not describe a CLIP ({_reason(error)}): download it "
            "anew."
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
            f"The settings given for {str(checkpoint.path)!r} do not fit ({_reason(error)}): change --set."
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
    return _build_config({"image_size": image_size, **fields, **overrides}, path)


def _build_config(fields: dict[str, Any], path: Path) -> FGASegConfig:
    try:
        return FGASegConfig(**fields)
    except ValueError:
        raise
    # The checks of types have exceptions of their own.
    except Exception as error:
        raise ValueError(
            f"The settings for {str(path)!r} do not describe a FGASeg ({_reason(error)}): change them."
        ) from error


def _compare_with_model(plan: ConversionPlan) -> None:
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


def _load_tokenizer(given: str | Path | None, plan: ConversionPlan) -> Any:
    text = plan.config.text_config
    if given is not None:
        source = str(given)
    elif any((plan.source / name).is_file() for name in _TOKENIZER_FILES):
        source = str(plan.source)
    elif text.vocab_size == STANDARD_VOCABULARY_SIZE:
        source = STANDARD_TOKENIZER
    else:
        raise ValueError(
            f"The text tower of {str(plan.source)!r} has {text.vocab_size} tokens, so CLIP's own tokenizer does not "
            "fit it: give its own as --tokenizer FOLDER_OR_ID."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    # Not there, no network, broken, of another library: each has its own exception.
    except Exception as error:
        raise ValueError(
            f"The tokenizer {source!r} cannot be had ({_reason(error)}): give a folder that holds CLIP's tokenizer as "
            "--tokenizer FOLDER."
        ) from error
    if len(tokenizer) > text.vocab_size or tokenizer.eos_token_id not in (
        text.eos_token_id,
        text.vocab_size - 1 if text.eos_token_id == _LEGACY_EOS_TOKEN_ID else None,
    ):
        raise ValueError(
            f"The tokenizer {source!r} has {len(tokenizer)} tokens and ends a text with {tokenizer.eos_token_id}, but "
            f"the text tower has {text.vocab_size} and expects {text.eos_token_id}: give this text tower's own."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, text.max_position_embeddings)
    return tokenizer


def _check_free(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise ValueError(f"The output {str(out)!r} exists already: name another.")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"The folder {str(out.absolute().parent)!r} does not exist: make it first.")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Gives a place beside `out` to write to, which takes its name when all went well and vanishes otherwise."""
    place = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".unfinished", dir=out.absolute().parent))
    try:
        yield place / out.name
        if out.is_dir():
            out.rmdir()
        (place / out.name).replace(out)
    finally:
        shutil.rmtree(place)


def _first_names(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more (--dry-run names all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()).rstrip(".") or type(error).__name__)[:200]


__all__ = ["ConversionPlan", "convert_checkpoint", "export_released_checkpoint", "plan_conversion"]
