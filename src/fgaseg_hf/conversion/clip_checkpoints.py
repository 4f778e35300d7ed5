# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""CLIP checkpoints in the Hub's layout: segmented with as they are, and made of a model's towers."""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel
from transformers.image_utils import PILImageResampling

from ..model.modeling_fgaseg import FGASegForSemanticSegmentation, FGASegModel
from ..model.processing_fgaseg import FGASegProcessor


def load_training_free(
    clip: str | Path, prompt_templates: list[str] | None = None, **fields: Any
) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Makes a segmenter of a CLIP checkpoint as it is: no weight is added, none is trained.

    Args:
        clip: A folder in the Hub's layout with CLIP's tokenizer in it, or a Hub id.
        prompt_templates: Sentences around each class name; the published one if not given.
        **fields: Fields of [`FGASegConfig`], such as `image_size`, `dense_attention` or `affinity_layer`.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        ValueError: The checkpoint is not a whole CLIP model with its tokenizer, or a field is out of range.
    """
    model = FGASegForSemanticSegmentation.from_clip(clip, training_free=True, **fields)
    return model, FGASegProcessor.from_clip(clip, model.config.image_size, prompt_templates)


def save_clip(
    model: FGASegForSemanticSegmentation | FGASegModel,
    processor: FGASegProcessor,
    folder: str | Path,
    negate_text: bool = False,
) -> CLIPModel:
    """Writes a model's two towers as a CLIP checkpoint, which every program that reads `CLIPModel` loads.

    The text tower answers as before. Of the image tower, training with the published settings leaves the query and key
    of the last block as they were, since dense features do not use them; CLIP's class token does.

    Args:
        model: Whose towers to write.
        processor: Its processor; the tokenizer, mean and standard deviation go with the towers.
        folder: Where to write; made if it is missing.
        negate_text: Whether to turn all text embeddings round. A decoder that was trained together with fresh towers
            reads likeness with either sign; with the minus sign, a word is least like the patches that show it, which
            no other program expects. Towers that started from CLIP keep CLIP's sign.

    Returns:
        The CLIP model, in evaluation mode.

    Raises:
        ValueError: There is another model in the folder.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise ValueError(f"There is a model in {str(folder)!r} already; name a new folder.")
    base: Any = model.base_model
    config: Any = model.config
    clip: Any = CLIPModel(
        CLIPConfig(
            text_config=config.text_config.to_dict(),
            vision_config=config.vision_config.to_dict(),
            projection_dim=config.projection_dim,
            logit_scale_init_value=config.logit_scale_init_value,
        )
    )
    clip = clip.to(base.dtype).eval()
    weights = base.state_dict()
    clip.load_state_dict({name: weights[name] for name in clip.state_dict()})
    if negate_text:
        with torch.no_grad():
            clip.text_projection.weight.neg_()
    clip.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    image_processor: Any = processor.image_processor
    side = config.vision_config.image_size
    CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        resample=PILImageResampling.BICUBIC,
        image_mean=image_processor.image_mean,
        image_std=image_processor.image_std,
    ).save_pretrained(folder)
    return clip


__all__ = ["load_training_free", "save_clip"]
