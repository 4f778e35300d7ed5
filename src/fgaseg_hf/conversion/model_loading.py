# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Any name of a model -> the model and its processor, ready to segment."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from ..model.configuration_fgaseg import FGASegConfig
from ..model.json_reading import parse_json
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..release.checkpoint_files import check_architecture, read_config
from .checkpoint_sources import find_checkpoint
from .clip_checkpoints import load_training_free
from .model_store import WEIGHT_FILES, convert_weight_file, fetch_named_model, origin_of
from .named_models import DEFAULT_MODEL, NAMED_MODELS, builtin_model_folder

ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model that segments.

    Attributes:
        model: In evaluation mode, on the CPU; a vocabulary that was saved with it is set.
        processor: Prepares pictures and words for it.
        source: What was asked for.
        is_plain_clip: Whether it is a CLIP, which segments without training, and coarsely.
    """

    model: FGASegForSemanticSegmentation
    processor: FGASegProcessor
    source: str
    is_plain_clip: bool


def load_model(source: str | Path, dtype: torch.dtype = torch.float32, **overrides: Any) -> LoadedModel:
    """Loads whatever segments, by whatever name.

    Args:
        source: The name of a known model, a folder (of a FGASeg, a plain CLIP, or an adapter of a FGASeg), an id on the
            Hub of these, or a file of weights, which is converted the first time.
        dtype: Float type of the weights.
        **overrides: Fields of the configuration to set instead.

    Raises:
        ValueError: There is no such model, it is none of these kinds, it is broken, or it cannot be fetched.
    """
    place, is_converted_clip = _place_of(source)
    if (adapter := adapter_settings(place)) is not None:
        model, processor = _load_adapter(place, adapter, dtype, overrides)
        return LoadedModel(model.eval(), processor, str(source), is_plain_clip=False)
    with quiet_transformers():
        is_plain_clip = check_architecture(place, (FGASegConfig.model_type, "clip")) == "clip"
    if is_plain_clip:
        with quiet_transformers(), broken_checkpoints_named(place):
            model, processor = load_training_free(place, **overrides)
            model = model.to(dtype=dtype)  # type: ignore[call-arg]
    else:
        model, processor = load_checkpoint(place, dtype, **overrides)
    return LoadedModel(model.eval(), processor, str(source), is_plain_clip or is_converted_clip)


def find_model(source: str | Path) -> str:
    """Finds the folder or the Hub's id that a model's name stands for; what is not on this machine yet is fetched.

    Args:
        source: See [`load_model`].

    Raises:
        ValueError: A known model cannot be fetched, or a file of weights cannot be converted.
    """
    return _place_of(source)[0]


def _place_of(source: str | Path) -> tuple[str, bool]:
    """Where a model lies, and whether it was made of a CLIP for this package to load."""
    if str(source) == DEFAULT_MODEL:
        return str(builtin_model_folder()), False
    path = Path(source)
    if not path.exists() and str(source) in NAMED_MODELS:
        path = fetch_named_model(str(source))
    elif path.is_file() or (not path.exists() and str(source).endswith(WEIGHT_FILES)):
        with quiet_transformers():
            path = convert_weight_file(find_checkpoint(source))
    else:
        return str(source), False
    return str(path), bool(origin_of(path).get("training_free"))


def adapter_settings(place: str) -> dict[str, Any] | None:
    """Reads what PEFT wrote beside an adapter's weights, where a folder holds these and no model; else `None`.

    Args:
        place: The folder, or anything else.

    Raises:
        ValueError: The file does not say to which model the adapter belongs.
    """
    path = Path(place) / ADAPTER_FILE
    if not path.is_file() or (path.parent / "config.json").is_file():
        return None
    try:
        settings = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(settings["base_model_name_or_path"], str):
            raise ValueError("it names no base model")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The adapter {place!r} does not say which model it belongs to ({error}): save it anew."
        ) from error
    return settings


def _load_adapter(
    place: str, settings: dict[str, Any], dtype: torch.dtype, overrides: dict[str, Any]
) -> tuple[Any, FGASegProcessor]:
    """Loads an adapter's base model and adds the adapter to its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ValueError(
            f"The model {place!r} is an adapter, which needs the package peft: pip install peft."
        ) from error
    base = load_model(settings["base_model_name_or_path"], dtype, **overrides)
    with quiet_transformers(), broken_checkpoints_named(place):
        model = PeftModel.from_pretrained(base.model, place).merge_and_unload()
        own = (Path(place) / "processor_config.json").is_file()
        processor = FGASegProcessor.from_pretrained(place) if own else base.processor
    return model, processor


def load_checkpoint(
    source: str, dtype: torch.dtype = torch.float32, **overrides: Any
) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Loads a FGASeg checkpoint.

    Args:
        source: A folder or an id on the Hub.
        dtype: Float type of the weights.
        **overrides: Fields of the configuration to set instead.

    Raises:
        ValueError: There is no such checkpoint, or it is of another architecture or broken.
    """
    with quiet_transformers():
        check_architecture(source)
    with quiet_transformers():
        config = read_config(source, **overrides)
    with quiet_transformers(), broken_checkpoints_named(source):
        processor = FGASegProcessor.from_pretrained(source)
        model, loading_info = FGASegForSemanticSegmentation.from_pretrained(
            source, config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    if mismatched := sorted(loading_info["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise ValueError(
            f"The model {source!r} has {len(mismatched)} of its weights in other shapes than its config.json says "
            f"({name}: {tuple(stored)}, not {tuple(wanted)}): save or download it anew."
        )
    if missing := sorted(loading_info["missing_keys"]):
        raise ValueError(
            f"The model {source!r} lacks {len(missing)} of its weights ({missing[0]}, ...): save or download it anew."
        )
    return model, processor


@contextmanager
def broken_checkpoints_named(source: str) -> Iterator[None]:
    """Says of whatever goes wrong which checkpoint it is about."""
    try:
        yield
    # A checkpoint can be broken in as many ways as there are libraries that read it.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        # Transformers' report is not shown here.
        if "above report" in reason:
            reason = "some of its weights have other shapes than its config.json says"
        raise ValueError(f"The model {source!r} cannot be loaded ({reason}): save or download it anew.") from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps loading bars and warnings off the terminal: what goes wrong is said in one sentence of our own."""
    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bar_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bar_enabled:
            transformers_logging.enable_progress_bar()


__all__ = [
    "LoadedModel",
    "adapter_settings",
    "broken_checkpoints_named",
    "find_model",
    "load_checkpoint",
    "load_model",
    "quiet_transformers",
]
