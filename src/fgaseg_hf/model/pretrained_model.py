# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What all models of FGASeg share: how weights start, which of them train, and how checkpoints are written."""

from os import PathLike
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import PreTrainedModel

from .class_aggregation import FGASegClassAggregation
from .clip_dense_features import is_trainable_parameter
from .configuration_fgaseg import FGASegConfig
from .pixel_text_alignment import FGASegP2Tformer


class FGASegPreTrainedModel(PreTrainedModel):
    """Weights, their initialisation, and what of them trains."""

    config: FGASegConfig
    base_model_prefix = "fgaseg"
    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["FGASegDenseEncoderLayer", "FGASegAggregationLayer", "FGASegUpsamplingStage"]
    _supports_sdpa = True
    _supports_attention_backend = True
    # forward's extra keyword arguments are the towers', not the loss's: Trainer must not rescale the loss.
    accepts_loss_kwargs = False

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no: see below."""
        # Transformers skips modules without own parameters when it initialises "custom code".
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if module.weight is not None:
                # PyTorch's own start, as in the released code: uniform within 1 / sqrt(fan in).
                init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                fan_in = module.weight[0].numel()
                init.uniform_(module.bias, -(fan_in**-0.5), fan_in**-0.5)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            if isinstance(module, nn.BatchNorm2d):
                init.zeros_(cast(torch.Tensor, module.running_mean))
                init.ones_(cast(torch.Tensor, module.running_var))
                init.zeros_(cast(torch.Tensor, module.num_batches_tracked))
        elif isinstance(module, FGASegP2Tformer):
            init.constant_(module.text_scale, self.config.p2tformer_scale_init)
            if module.is_dual:
                init.constant_(module.patch_scale, self.config.p2tformer_scale_init)
        elif isinstance(module, FGASegClassAggregation) and self.config.class_padding:
            init.zeros_(module.padding_token)
            init.zeros_(module.padding_guidance)

    def get_input_embeddings(self) -> nn.Module:
        """The text tower's token table."""
        return cast(Any, self.base_model).text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text tower's token table."""
        cast(Any, self.base_model).text_model.set_input_embeddings(value)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in Transformers; what `config.trainable_clip` freezes is frozen again after loading."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.freeze_parameters()
        return loaded

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in Transformers, with the code that loads it where this package is not installed."""
        if self.is_remote_code():
            # Transformers would name the saved class alone; each of them loads from any of these checkpoints.
            self.config.auto_map = {
                **(getattr(self.config, "auto_map", None) or {}),
                "AutoConfig": "configuration_fgaseg.FGASegConfig",
                "AutoModel": "modeling_fgaseg.FGASegModel",
                "AutoModelForSemanticSegmentation": "modeling_fgaseg.FGASegForSemanticSegmentation",
            }
            # Imported here, since the model does not need it; but an import it must be, for its code to be saved too.
            from .pipeline_fgaseg import ZeroShotImageSegmentationPipeline

            self.config.custom_pipelines = {
                "zero-shot-image-segmentation": {
                    "impl": f"pipeline_fgaseg.{ZeroShotImageSegmentationPipeline.__name__}",
                    "pt": ["AutoModelForSemanticSegmentation"],
                    "type": "multimodal",
                }
            }
        try:
            super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            self.config.__dict__.pop("custom_pipelines", None)

    def set_trainable_clip(self, mode: Literal["query_value", "all", "none"]) -> None:
        """Chooses which weights of CLIP train, and keeps the choice in the configuration.

        Args:
            mode: `"query_value"`, `"all"` or `"none"`.

        Raises:
            ValueError: If there is no such mode.
        """
        if mode not in ("query_value", "all", "none"):
            raise ValueError(f"There is no `trainable_clip` mode {mode!r}; choose 'query_value', 'all' or 'none'.")
        self.config.trainable_clip = mode
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Lets exactly those parameters train that `config.trainable_clip` names."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_trainable_parameter(name, self.config) and parameter.is_floating_point())

    def trainable_parameter_names(self) -> list[str]:
        """Names of the parameters that train."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]


__all__ = ["FGASegPreTrainedModel"]
