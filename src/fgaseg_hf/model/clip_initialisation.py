# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models that start from others' weights: towers of a CLIP checkpoint, or all of a CAT-Seg."""

from pathlib import Path
from typing import Any, Literal, cast

from transformers import CLIPConfig
from transformers.modeling_utils import PreTrainedModel

from .catseg_initialisation import continue_from_catseg
from .clip_dense_features import default_image_size
from .configuration_fgaseg import FGASegConfig

_TOWERS = ("text_model.", "vision_model.", "visual_projection.", "text_projection.")


def read_clip_config(clip: str | Path) -> tuple[Any, int]:
    """Reads the configuration of a CLIP checkpoint, and the side of the pictures that it was trained with.

    Args:
        clip: A folder in the Hub's layout, or a Hub id.

    Returns:
        A `CLIPConfig`, and the side in pixels, brought down to a multiple of the patch size.

    Raises:
        ValueError: If the checkpoint is of another architecture.
    """
    settings = CLIPConfig.get_config_dict(clip)[0]
    if settings.get("model_type") != "clip":
        raise ValueError(
            f"{clip} holds a model of type {settings.get('model_type')!r}; give a checkpoint of type 'clip'."
        )
    config: Any = CLIPConfig.from_dict(settings)
    vision = config.vision_config
    return config, max(vision.image_size // vision.patch_size, 1) * vision.patch_size


def configure_from_clip(
    clip: str | Path, config: FGASegConfig | None, training_free: bool, overrides: dict[str, Any]
) -> FGASegConfig:
    """Makes the configuration of a model with the towers of a CLIP checkpoint.

    Args:
        clip: A folder in the Hub's layout, or a Hub id.
        config: The configuration to start from; what belongs to the towers is replaced.
        training_free: Whether to start from [`FGASegConfig.training_free`] instead, at CLIP's own picture size.
        overrides: Fields to set on top.

    Raises:
        ValueError: If the checkpoint is of another architecture, or there are two configurations to start from.
    """
    if training_free and config is not None:
        raise ValueError("`training_free` is a configuration of its own; leave `config` out and set single fields.")
    towers, own_image_size = read_clip_config(clip)
    image_size = own_image_size if training_free else default_image_size(cast(int, towers.vision_config.patch_size))
    fields = (
        {}
        if config is None
        else {
            name: value
            for name, value in config.to_dict().items()
            if name not in ("guidance_layers", "transformers_version", "vocabulary_key")
        }
    )
    fields |= {
        "text_config": towers.text_config,
        "vision_config": towers.vision_config,
        "projection_dim": towers.projection_dim,
        "logit_scale_init_value": towers.logit_scale_init_value,
        **({} if config else {"image_size": image_size}),
        **overrides,
    }
    return FGASegConfig.training_free(**fields) if training_free else FGASegConfig(**fields)


def check_clip_weights(clip: str | Path, report: dict[str, Any]) -> None:
    """Makes sure that a checkpoint gave both towers whole.

    Args:
        clip: The checkpoint, for the error.
        report: What `from_pretrained(..., output_loading_info=True)` returns beside the model.

    Raises:
        ValueError: If a weight of CLIP is missing.
    """
    towers = tuple(prefix + tower for prefix in ("", "fgaseg.") for tower in _TOWERS)
    missing = sorted(name for name in report["missing_keys"] if name.startswith(towers))
    if missing:
        raise ValueError(f"{clip} lacks weights of CLIP, {missing[0]} first; give a whole CLIP checkpoint.")


class FGASegInitialisationMixin(PreTrainedModel):
    """How a segmentation model starts from the weights of another one."""

    @classmethod
    def from_clip(
        cls,
        clip: str | Path,
        *,
        config: FGASegConfig | None = None,
        training_free: bool = False,
        **overrides: Any,
    ) -> Any:
        """Takes both towers from a CLIP checkpoint and starts everything else fresh.

        Args:
            clip: A local folder in the Hub's layout, or a Hub id, of any `CLIPModel`.
            config: The configuration; its tower configurations and projection size are replaced by the checkpoint's.
            training_free: Whether there shall be nothing else: the model is [`FGASegConfig.training_free`] at CLIP's
                own picture size and segments without any training. Instead of `config`.
            **overrides: Fields of the configuration to set instead.

        Returns:
            The model, in evaluation mode, with `config.trainable_clip` in force.

        Raises:
            ValueError: If the checkpoint is not a CLIP model, or lacks a weight of one.

        Example:
            >>> model = FGASegForSemanticSegmentation.from_clip("openai/clip-vit-base-patch16", training_free=True)
            >>> processor = FGASegProcessor.from_clip("openai/clip-vit-base-patch16", model.config.image_size)
        """
        config = configure_from_clip(clip, config, training_free, overrides)
        model, report = cls.from_pretrained(clip, config=config, output_loading_info=True)
        check_clip_weights(clip, report)
        return model

    @classmethod
    def from_pretrained(cls, *args: Any, init: Literal["from_catseg"] | None = None, **kwargs: Any) -> Any:
        """As in Transformers; `init="from_catseg"` goes on from a CAT-Seg checkpoint with FGASeg's blocks added.

        All that CAT-Seg has is kept, and the new paths start neutral, so that the first logits are CAT-Seg's. Which
        tensors are new is logged, and returned as `missing_keys` with `output_loading_info=True`. Without `config`,
        the checkpoint's own is taken and every block switched on (fields given by keyword come on top).

        Raises:
            ValueError: There is no such `init`, or the checkpoint does not hold all of the configuration's CAT-Seg.
        """
        if init is None:
            return super().from_pretrained(*args, **kwargs)
        if init != "from_catseg":
            raise ValueError(f"There is no `init` {init!r}; choose 'from_catseg' or leave it out.")
        return continue_from_catseg(super().from_pretrained, args, kwargs)
