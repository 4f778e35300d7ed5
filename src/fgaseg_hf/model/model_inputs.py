# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a model is called with: checked before anything is computed."""

from collections.abc import Iterable
from typing import Any

import torch

from .configuration_fgaseg import FGASegConfig
from .model_outputs import FGASegImageFeatures


def check_pictures(pixel_values: torch.Tensor | None, config: FGASegConfig) -> torch.Tensor:
    """Refuses pictures that do not fit the model.

    Args:
        pixel_values: (batch, 3, height, width), multiples of the patch size.
        config: The model's configuration.

    Returns:
        The pictures.

    Raises:
        ValueError: If they are missing, or of another shape.
    """
    if torch.jit.is_tracing():
        raise ValueError(
            "`torch.jit.trace` would freeze what depends on sizes; use `torch.export`, see docs/export.md."
        )
    if pixel_values is None:
        raise ValueError("`pixel_values` is missing; give pictures (batch, 3, height, width).")
    vision_config: Any = config.vision_config
    patch_size, num_channels = vision_config.patch_size, vision_config.num_channels
    if not isinstance(pixel_values, torch.Tensor):
        raise ValueError(
            f"`pixel_values` is a {type(pixel_values).__name__}; give a tensor (batch, {num_channels}, height, width), "
            "as the processor makes it with `return_tensors='pt'`."
        )
    if not pixel_values.is_floating_point():
        raise ValueError(f"`pixel_values` is of {pixel_values.dtype}; give normalised pictures, as the processor does.")
    if pixel_values.dim() == 4 and pixel_values.shape[1] != num_channels:
        raise ValueError(f"`pixel_values` has {pixel_values.shape[1]} channels; give pictures of {num_channels}.")
    if pixel_values.dim() != 4 or any(side % patch_size or side == 0 for side in pixel_values.shape[-2:]):
        raise ValueError(
            f"`pixel_values` has shape {tuple(pixel_values.shape)}; give (batch, 3, height, width) with sides "
            f"that are multiples of the patch size {patch_size}."
        )
    return pixel_values


def check_image_features(image_features: FGASegImageFeatures, config: FGASegConfig) -> torch.Tensor:
    """Refuses features of pictures that the steps behind them cannot take.

    Args:
        image_features: What `get_image_features` returned.
        config: The model's configuration.

    Returns:
        The patches' features, (batch, dim, height, width).

    Raises:
        ValueError: If something is missing, or of another model.
    """
    patch_features = getattr(image_features, "patch_features", None)
    if not isinstance(patch_features, torch.Tensor) or patch_features.shape[1] != config.projection_dim:
        raise ValueError("`image_features` are of another model; give what this one's `get_image_features` returned.")
    for name, is_needed in (
        ("upsampling_guidance", config.decoder_type == "category"),
        ("patch_affinity", config.affinity_layer is not None),
    ):
        if is_needed and getattr(image_features, name, None) is None:
            raise ValueError(
                f"`image_features` lack `{name}`; give what this model's `get_image_features` returned, whole."
            )
    return patch_features


def check_words(input_ids: torch.Tensor | None, text_embeddings: torch.Tensor | None, config: FGASegConfig) -> None:
    """Refuses words that are missing, given twice, or of another shape.

    Args:
        input_ids: Class prompts, if given so.
        text_embeddings: (classes, dim) or (batch, classes, dim), if given so.
        config: The model's configuration.

    Raises:
        ValueError: If there is not exactly one of both, or its shape does not fit.
    """
    if input_ids is None and text_embeddings is None:
        raise ValueError(
            "There are no class names: give them as `input_ids` or `text_embeddings`, or once and for all by "
            "`model.set_vocabulary`."
        )
    if input_ids is not None and text_embeddings is not None:
        raise ValueError("Give the class names either as `input_ids` or as `text_embeddings`, one of both.")
    dim = config.projection_dim
    for name, words in (("input_ids", input_ids), ("text_embeddings", text_embeddings)):
        if words is not None and not isinstance(words, torch.Tensor):
            raise ValueError(f"`{name}` is a {type(words).__name__}; give a tensor.")
    if input_ids is not None:
        check_token_ids(input_ids, config)
    if text_embeddings is not None and (
        text_embeddings.dim() not in (2, 3) or text_embeddings.shape[-1] != dim or text_embeddings.shape[-2] == 0
    ):
        raise ValueError(
            f"`text_embeddings` has shape {tuple(text_embeddings.shape)}; give (classes, {dim}) or "
            f"(batch, classes, {dim}) with at least one class."
        )


def check_token_ids(input_ids: torch.Tensor, config: FGASegConfig) -> None:
    """Refuses what are no token ids of the text tower.

    Their values are looked at wherever they lie, since an accelerator's own refusal ends the process; but not in a
    program that is being made, which would end there, nor where an accelerator keeps gradients: a training step waits
    for nothing, and has its ids from a collator.

    Args:
        input_ids: (names, length) or (names, templates, length).
        config: The model's configuration.

    Raises:
        ValueError: They are no whole numbers, or beyond the text tower's tokens.
    """
    if input_ids.is_floating_point() or input_ids.is_complex() or input_ids.dtype == torch.bool:
        raise ValueError(f"`input_ids` is of {input_ids.dtype}; give whole numbers, as the processor does.")
    is_program = torch.compiler.is_compiling() or torch.jit.is_tracing() or type(input_ids) is not torch.Tensor
    is_step = input_ids.device.type != "cpu" and torch.is_grad_enabled()
    if is_program or is_step or input_ids.is_meta or input_ids.numel() == 0:
        return
    text_config: Any = config.text_config
    # Both at once: an accelerator is waited for a single time.
    lowest, highest = torch.stack(input_ids.aminmax()).tolist()
    if lowest < 0 or highest >= text_config.vocab_size:
        raise ValueError(
            f"`input_ids` go from {lowest} to {highest}, and the text tower has {text_config.vocab_size} tokens; "
            "tokenize with this checkpoint's processor."
        )


def check_class_indices(class_indices: torch.Tensor, num_names: int) -> None:
    """Refuses places beyond the names, as [`check_token_ids`] refuses tokens.

    Raises:
        ValueError: They are no whole numbers, or beyond the names.
    """
    if class_indices.is_floating_point() or class_indices.is_complex() or class_indices.dtype == torch.bool:
        raise ValueError(f"`class_indices` is of {class_indices.dtype}; give whole numbers.")
    is_program = torch.compiler.is_compiling() or type(class_indices) is not torch.Tensor
    is_step = class_indices.device.type != "cpu" and torch.is_grad_enabled()
    if is_program or is_step or class_indices.is_meta or class_indices.numel() == 0:
        return
    lowest, highest = torch.stack(class_indices.aminmax()).tolist()
    if lowest < 0 or highest >= num_names:
        raise ValueError(f"`class_indices` go from {lowest} to {highest}, and there are {num_names} names.")


def classes_of_each_picture(
    text_embeddings: torch.Tensor, class_indices: torch.Tensor | None, batch_size: int
) -> torch.Tensor:
    """Gives every picture the embeddings of its own classes.

    Args:
        text_embeddings: (names, dim), or (batch, classes, dim).
        class_indices: (batch, classes), which of the names are each picture's classes; all of them if not given.
        batch_size: Pictures in the batch.

    Returns:
        (batch, classes, dim).

    Raises:
        ValueError: If there are not as many sets of classes as pictures.
    """
    if class_indices is not None:
        if text_embeddings.dim() != 2 or class_indices.dim() != 2 or class_indices.shape[0] != batch_size:
            raise ValueError(
                f"`class_indices` has shape {tuple(class_indices.shape)}; give one row of names a picture, "
                f"({batch_size}, classes), and the names' embeddings as (names, dim)."
            )
        check_class_indices(class_indices, len(text_embeddings))
        return text_embeddings[class_indices]
    if text_embeddings.dim() == 2:
        return text_embeddings.expand(batch_size, -1, -1)
    if text_embeddings.shape[0] != batch_size:
        raise ValueError(
            f"`text_embeddings` holds the classes of {text_embeddings.shape[0]} pictures, but there are {batch_size}; "
            "give one set a picture, or one for all as (classes, dim)."
        )
    return text_embeddings


def wanted_hidden_states(requested: bool | int | Iterable[int] | None, config: FGASegConfig) -> set[int]:
    """Which hidden states of the image tower the caller asked for, as places from the start.

    Args:
        requested: `output_hidden_states` of the call: all or none, one place, or several; negative from the end.
        config: The model's configuration, which says what is returned if the call does not.
    """
    vision_config: Any = config.vision_config
    count = vision_config.num_hidden_layers + 1
    if requested is None:
        requested = config.output_hidden_states
    if requested is None or isinstance(requested, bool):
        return set(range(count)) if requested else set()
    return {layer % count for layer in ([requested] if isinstance(requested, int) else requested)}


def needed_hidden_states(config: FGASegConfig) -> set[int]:
    """Which hidden states of the image tower the steps themselves take, as places from the start."""
    needed = set(config.guidance_layers or ()) if config.decoder_type == "category" else set()
    return needed if config.affinity_layer is None else needed | {config.affinity_layer}


def whole_labels(labels: torch.Tensor) -> torch.Tensor:
    """Widens labels of any integer type, boolean ones included, to the one that losses count with; others stay."""
    return labels if labels.is_floating_point() or labels.is_complex() else labels.long()
