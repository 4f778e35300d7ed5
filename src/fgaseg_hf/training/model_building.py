# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The model that is to be trained, and the processor that belongs to it."""

from collections import Counter
from typing import Any

import torch
from transformers import AutoProcessor, AutoTokenizer

from ..model.configuration_fgaseg import FGASegConfig
from ..model.image_processing_fgaseg import FGASegImageProcessorPil
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from .training_arguments import ModelArguments, read_model_config


def build_model_and_processor(
    arguments: ModelArguments, image_size: tuple[int, int] | None = None
) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Loads or makes the model that is to be trained, and the processor that belongs to it.

    Args:
        arguments: where the weights start, in one way alone: see `check_start`.
        image_size: height and width for the processor; the model's `image_size` if None.

    Raises:
        ValueError: what the arguments name cannot be loaded.
    """
    fields = read_model_config(arguments)
    processor = None
    if arguments.model:
        model = FGASegForSemanticSegmentation.from_pretrained(
            arguments.model, init=arguments.init, dtype=torch.float32, **fields
        )
        processor = AutoProcessor.from_pretrained(arguments.model)
    elif arguments.clip:
        model = FGASegForSemanticSegmentation.from_clip(arguments.clip, **fields)
        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer or arguments.clip)
    else:
        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
        model = FGASegForSemanticSegmentation(FGASegConfig(**with_vocabulary_of(tokenizer, fields)))

    if processor is None:
        side = model.config.image_size
        image_processor = FGASegImageProcessorPil(size={"height": side, "width": side})
        processor = FGASegProcessor(image_processor=image_processor, tokenizer=tokenizer)
    if image_size is not None:
        processor.image_processor.size = {"height": image_size[0], "width": image_size[1]}
    if arguments.prompt_templates is not None:
        processor = FGASegProcessor(
            image_processor=processor.image_processor,
            tokenizer=processor.tokenizer,
            prompt_templates=arguments.prompt_templates,
        )
    return model, processor


def with_vocabulary_of(tokenizer: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Adds the tokenizer's size and special ids to a config's text tower, where the config does not say them."""
    from_tokenizer = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    known = {name: value for name, value in from_tokenizer.items() if value is not None}
    return fields | {"text_config": known | (fields.get("text_config") or {})}


def describe_training(model: torch.nn.Module) -> str:
    """Returns a table of the parameters by block: how many there are, and how many of them train."""
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        block = ".".join(name.split(".")[:2])
        block = block.removesuffix(".weight").removesuffix(".bias")
        total[block] += parameter.numel()
        trained[block] += parameter.numel() if parameter.requires_grad else 0
    width = max(len(block) for block in total)
    rows = [f"  {block:<{width}}  {trained[block]:>12,} of {count:>12,}" for block, count in total.items()]
    rows.append(f"  {'all':<{width}}  {sum(trained.values()):>12,} of {sum(total.values()):>12,}")
    return "Parameters that train, by block:\n" + "\n".join(rows)
