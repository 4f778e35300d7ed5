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
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..release.checkpoint_files import check_architecture
from .clip_checkpoints import load_training_free
from .named_models import DEFAULT_MODEL, builtin_model_folder


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
        source: The name of a known model, a folder, or an id on the Hub, of a FGASeg or a plain CLIP.
        dtype: Float type of the weights.
        **overrides: Fields of the configuration to set instead.

    Raises:
        ValueError: There is no such model, it is neither a FGASeg nor a CLIP, or it is broken.
    """
    place = str(builtin_model_folder()) if str(source) == DEFAULT_MODEL else str(source)
    with quiet_transformers():
        is_plain_clip = check_architecture(place, (FGASegConfig.model_type, "clip")) == "clip"
    if is_plain_clip:
        with quiet_transformers(), broken_checkpoints_named(place):
            model, processor = load_training_free(place, **overrides)
            model = model.to(dtype=dtype)  # type: ignore[call-arg]
    else:
        model, processor = load_checkpoint(place, dtype, **overrides)
    return LoadedModel(model.eval(), processor, str(source), is_plain_clip)


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
    with quiet_transformers(), broken_checkpoints_named(source):
        config = FGASegConfig.from_pretrained(source, **overrides)
        processor = FGASegProcessor.from_pretrained(source)
        model, loading_info = FGASegForSemanticSegmentation.from_pretrained(
            source, config=config, dtype=dtype, output_loading_info=True
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


__all__ = ["LoadedModel", "broken_checkpoints_named", "load_checkpoint", "load_model", "quiet_transformers"]
