# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg convert`: any checkpoint that FGASeg can start from becomes a folder of this package, and back."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer

from ..model.configuration_fgaseg import FGASegConfig
from ..model.image_processing_fgaseg import FGASegImageProcessorPil
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..release.card_description import CardDescription
from ..release.checkpoint_inspection import inspect_checkpoint
from ..release.model_card import make_model_card
from .checkpoint_conversion import to_released_state_dict
from .checkpoint_sources import find_checkpoint, read_checkpoint
from .conversion_plan import Activation, ConversionPlan, build_config, compare_with_model, plan_conversion, short_reason
from .released_config import released_layout

ReleasedLayout = Literal["catseg", "fga-seg"]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

STANDARD_TOKENIZER = "openai/clip-vit-base-patch16"

STANDARD_VOCABULARY_SIZE = 49408

# Configurations of CLIP that are older than this field's meaning say 2; the text tower then takes the largest id.
_LEGACY_EOS_TOKEN_ID = 2

_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


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
    config = build_config(checkpoint.config, checkpoint.path)
    if (found := released_layout(config)) != layout:
        raise ValueError(f"The model {str(source)!r} has the blocks of {found}: give --to {found}.")
    plan = ConversionPlan(checkpoint.path, "FGASeg", config, checkpoint.tensors, len(checkpoint.tensors))
    compare_with_model(plan)
    plan.missing += plan.new
    plan.check()
    released = to_released_state_dict(checkpoint.tensors, config, None if dtype is None else DTYPES[dtype])
    if not dry_run:
        with _appearing(out) as unfinished:
            torch.save({"model": released}, unfinished)
    return len(released)


def _load_tokenizer(given: str | Path | None, plan: ConversionPlan) -> Any:
    text: Any = plan.config.text_config
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
            f"The tokenizer {source!r} cannot be had ({short_reason(error)}): give a folder that holds CLIP's "
            "tokenizer as --tokenizer FOLDER."
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


__all__ = ["convert_checkpoint", "export_released_checkpoint"]
