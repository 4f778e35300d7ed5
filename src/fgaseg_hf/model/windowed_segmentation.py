# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How a segmentation model is asked of a picture's windows."""

from typing import Any

import torch
from transformers.modeling_utils import PreTrainedModel

from .configuration_fgaseg import FGASegConfig
from .sliding_window import predict_with_sliding_window


class FGASegWindowsMixin(PreTrainedModel):
    """What a segmentation model does with pictures that are larger than it was trained on."""

    config: FGASegConfig

    @torch.no_grad()
    def segment_with_sliding_window(
        self,
        pixel_values: torch.Tensor | list[torch.Tensor],
        text_embeddings: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> list[torch.Tensor]:
        """Class probabilities by sliding windows and the whole picture, as published; see
        [`predict_with_sliding_window`].

        Args:
            pixel_values: Normalised pictures, (batch, 3, height, width), or (3, height, width) each of a list.
            text_embeddings: (classes, dim); those of the vocabulary that was set, if not given.
            **kwargs: Settings of [`predict_with_sliding_window`].

        Returns:
            For each picture, probabilities (classes, height, width) at its own size.
        """

        def predict_logits(pictures: torch.Tensor) -> torch.Tensor:
            return self(pixel_values=pictures, text_embeddings=text_embeddings).logits

        kwargs.setdefault("window_size", self.config.image_size)
        return predict_with_sliding_window(predict_logits, pixel_values, **kwargs)
