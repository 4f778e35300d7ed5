# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What fields of a configuration fit together."""

from typing import Any


def check_architecture(config: Any) -> None:
    """Checks every field of a configuration against the others.

    Args:
        config: An `FGASegConfig`.

    Raises:
        ValueError: If the fields contradict each other or are out of range; the message names the field and the mend.
    """
    _check_sizes(config)
    _check_image_tower(config)
    _check_alignment(config)
    _check_decoder(config)
    _check_class_selection(config)


def _check_sizes(config: Any) -> None:
    """Every number by itself: its sign, and how many there are."""
    for name, positive in _positive_fields(config).items():
        if any(value < 1 for value in positive):
            raise ValueError(f"`{name}` is {getattr(config, name)}; set it to 1 or more.")
    for name, length in (
        ("guidance_layers", 2),
        ("upsampling_guidance_dims", 2),
        ("projected_guidance_dims", 2),
        ("decoder_dims", 2),
        ("auxiliary_loss_weights", 3),
    ):
        if len(getattr(config, name)) != length:
            raise ValueError(f"`{name}` is {getattr(config, name)}; give it {length} numbers.")
    for name in ("neighbour_std", "affinity_temperature"):
        if getattr(config, name) <= 0:
            raise ValueError(f"`{name}` is {getattr(config, name)}; set it to more than 0.")
    for name in ("segmentation_loss_weight", "alignment_loss_weight", "class_padding"):
        if getattr(config, name) < 0:
            raise ValueError(f"`{name}` is {getattr(config, name)}; set it to 0 or more.")
    if config.default_threshold is not None and not 0 <= config.default_threshold <= 1:
        raise ValueError(
            f"`default_threshold` is {config.default_threshold}; set it to a probability from 0 to 1, or to None."
        )
    if any(weight < 0 for weight in config.auxiliary_loss_weights):
        raise ValueError(f"`auxiliary_loss_weights` is {config.auxiliary_loss_weights}; set each to 0 or more.")


def _check_image_tower(config: Any) -> None:
    """The picture's grid, and layers that the tower must have."""
    patch_size = config.vision_config.patch_size
    if config.image_size % patch_size:
        raise ValueError(
            f"`image_size` {config.image_size} is not a multiple of the patch size {patch_size}; "
            f"set it to {max(config.image_size // patch_size, 1) * patch_size}, say."
        )
    depth = config.vision_config.num_hidden_layers
    if not all(0 <= layer < depth for layer in config.guidance_layers):
        raise ValueError(
            f"`guidance_layers` {config.guidance_layers} must lie between 0 and {depth - 1}, before the last block "
            "of the image tower; choose two of these."
        )
    if config.affinity_layer is not None and not 0 <= config.affinity_layer < depth:
        raise ValueError(
            f"`affinity_layer` {config.affinity_layer} must lie between 0 and {depth - 1}, before the last block of "
            "the image tower; choose one of these or None."
        )


def _check_alignment(config: Any) -> None:
    """P2Tformer, alignment head and local pseudo-masks."""
    if config.p2tformer_num_layers < 0:
        raise ValueError(f"`p2tformer_num_layers` is {config.p2tformer_num_layers}; set it to 0 (off) or more.")
    # Heads share the projection out; sine positions need a quarter of it for each of sin and cos of x and y.
    does_not_divide = config.projection_dim % config.p2tformer_num_heads or config.projection_dim % 4
    if config.p2tformer_num_layers and does_not_divide:
        raise ValueError(
            f"`projection_dim` {config.projection_dim} must be a multiple of 4 and of `p2tformer_num_heads` "
            f"{config.p2tformer_num_heads}; change one of them."
        )
    if config.use_alignment_head and config.projection_dim % 2:
        raise ValueError(
            f"`projection_dim` {config.projection_dim} is odd, but the alignment head halves it; make it even or set "
            "`use_alignment_head` to False."
        )
    for name in ("alignment_kernel_size", "local_kernel_size"):
        if getattr(config, name) % 2 == 0:
            raise ValueError(f"`{name}` is {getattr(config, name)}; set it to an odd number.")


def _check_decoder(config: Any) -> None:
    """The category-aware decoder, or what stands in its place."""
    if config.decoder_type == "cosine" and (config.use_local_pseudo_masks or config.use_auxiliary_heads):
        raise ValueError(
            "`decoder_type` 'cosine' has no place for local pseudo-masks and auxiliary heads; set "
            "`use_local_pseudo_masks` and `use_auxiliary_heads` to False, as `FGASegConfig.training_free` does."
        )
    if config.decoder_hidden_dim % config.num_aggregation_heads:
        raise ValueError(
            f"`decoder_hidden_dim` {config.decoder_hidden_dim} is not a multiple of `num_aggregation_heads` "
            f"{config.num_aggregation_heads}; change one of them."
        )
    for dim in config.decoder_dims:
        if dim % 16:
            raise ValueError(f"`decoder_dims` {config.decoder_dims} must be multiples of 16 (groups of normalisation).")
    for dim, guidance_dim in zip(
        (config.decoder_hidden_dim, config.decoder_dims[0]), config.projected_guidance_dims, strict=True
    ):
        if guidance_dim >= dim:
            raise ValueError(
                f"`projected_guidance_dims` {config.projected_guidance_dims} must be smaller than the {dim} "
                "channels that enter the stage; lower them."
            )


def _check_class_selection(config: Any) -> None:
    """Rules that rank names by maps of the decoder."""
    if (
        config.num_kept_classes is not None
        and config.class_selection_rule == "union"
        and not config.use_auxiliary_heads
    ):
        raise ValueError(
            "`class_selection_rule` 'union' ranks by the auxiliary maps; set `use_auxiliary_heads` to True or the "
            "rule to 'peak'."
        )
    if config.num_decoded_classes is not None and not config.use_auxiliary_heads:
        raise ValueError(
            "`num_decoded_classes` ranks names by an auxiliary map; set `use_auxiliary_heads` to True or it to None."
        )


def _positive_fields(config: Any) -> dict[str, tuple[int, ...]]:
    names = (
        "projection_dim",
        "image_size",
        "upsampling_guidance_dims",
        "p2tformer_num_heads",
        "alignment_kernel_size",
        "local_kernel_size",
        "decoder_hidden_dim",
        "num_aggregation_layers",
        "num_aggregation_heads",
        "window_size",
        "appearance_guidance_dim",
        "text_guidance_dim",
        "class_pooling_size",
        "training_class_pooling_size",
        "projected_guidance_dims",
        "decoder_dims",
        "class_limit",
        "num_kept_classes",
        "num_decoded_classes",
    )
    values = {name: getattr(config, name) for name in names}
    return {
        name: tuple(value) if isinstance(value, list | tuple) else (value,)
        for name, value in values.items()
        if value is not None
    }
