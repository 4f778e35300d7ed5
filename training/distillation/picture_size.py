# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A trained FGASeg made ready for pictures of another size."""

from __future__ import annotations

from typing import Any

import torch

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation

POSITIONS = "fgaseg.vision_model.embeddings.position_embedding.weight"


@torch.no_grad()
def resize_pictures(model: Any, image_size: int | None = None, window_size: int | None = None) -> Any:
    """Builds the same model for another size: its position table is resized once instead of at every call.

    Args:
        model: An FGASeg.
        image_size: Side of the pictures in pixels, a multiple of the patch size; as before, if not given.
        window_size: Side of the spatial aggregation's windows in patches; as before, if not given.

    Returns:
        A new FGASeg in float32 with the model's weights.

    Raises:
        ValueError: If a size does not fit.
    """
    fields = model.config.to_dict()
    for name in ("architectures", "dtype", "transformers_version"):
        fields.pop(name, None)
    side = image_size or model.config.image_size
    fields["image_size"] = side
    fields["vision_config"] = {**fields["vision_config"], "image_size": side}
    fields["window_size"] = window_size or model.config.window_size
    resized = FGASegForSemanticSegmentation(FGASegConfig(**fields))
    weights = {
        name: value.float() if value.is_floating_point() else value for name, value in model.state_dict().items()
    }
    # As the tower does it at every call.
    embeddings = model.fgaseg.vision_model.embeddings
    weights[POSITIONS] = embeddings.interpolate_pos_encoding(weights[POSITIONS], side, side)[0].float()
    resized.load_state_dict(weights)
    return resized
