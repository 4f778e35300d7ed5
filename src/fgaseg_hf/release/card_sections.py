# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The sections of a model card that need no measurement: settings, use, training, limits, bias."""

import json
from collections.abc import Sequence
from typing import Any

from .card_description import CardDescription
from .card_measurements import format_table
from .checkpoint_description import format_bytes
from .checkpoint_inspection import CheckpointInspection
from .evaluation_record import EvaluationRecord, shorten_command


def describe_settings(checkpoint: CheckpointInspection) -> str:
    """Writes the table of what the checkpoint is and takes."""
    config: Any = checkpoint.config
    text, vision = config.text_config, config.vision_config
    if config.num_kept_classes is None:
        classes = "the decoder works out every class"
    else:
        classes = f"the decoder works out {config.num_kept_classes} of a picture's classes"
    if config.class_limit is not None:
        classes += f"; of more than {config.class_limit}, each picture keeps those with the highest peak"
    rows = {
        "architecture": f"{checkpoint.method} (`{checkpoint.architecture}`)",
        "parameters": f"{checkpoint.num_parameters:,}",
        "by block": ", ".join(f"{block.name} {block.num_parameters:,}" for block in checkpoint.blocks),
        "trainable": f'{checkpoint.num_trainable:,} (`trainable_clip="{config.trainable_clip}"`)',
        "weights": f"{format_bytes(checkpoint.num_weight_bytes)}, {', '.join(checkpoint.dtypes)}",
        "hash of the weights": f"`{checkpoint.weights_sha256}`",
        "image tower": f"{vision.num_hidden_layers} layers of width {vision.hidden_size}, patches of "
        f"{vision.patch_size} pixels",
        "text tower": f"{text.num_hidden_layers} layers of width {text.hidden_size}, prompts up to "
        f"{checkpoint.max_prompt_length} tokens",
        "pictures": f"{config.image_size} x {config.image_size} pixels, a grid of {checkpoint.grid_size} x "
        f"{checkpoint.grid_size} patches",
        "classes": classes,
    }
    if checkpoint.vocabulary is not None:
        labels = checkpoint.vocabulary.labels
        rows["vocabulary"] = f"{len(labels)} labels: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}"
    return format_table(["", ""], [[name, text] for name, text in rows.items()])


def write_example(
    checkpoint: CheckpointInspection, records: Sequence[EvaluationRecord], description: CardDescription
) -> str:
    """Writes the twelve lines of Python that segment a picture."""
    has_vocabulary = checkpoint.vocabulary is not None
    if has_vocabulary:
        picture = 'picture = Image.open("picture.jpg")'
        inputs, named = "images=picture", "model.config.id2label.items()"
    else:
        words = ", ".join(json.dumps(word, ensure_ascii=False) for word in _example_words(records))
        picture = f'picture, words = Image.open("picture.jpg"), [{words}]'
        inputs, named = "images=picture, text=words", "enumerate(words)"
    return "\n".join(
        [
            "import torch",
            "from PIL import Image",
            "from transformers import AutoModelForSemanticSegmentation, AutoProcessor",
            "",
            f"source, trust = {description.name!r}, {{'trust_remote_code': True}}".replace("'", '"'),
            "model = AutoModelForSemanticSegmentation.from_pretrained(source, dtype=torch.float32, **trust).eval()",
            "processor = AutoProcessor.from_pretrained(source, **trust)",
            picture,
            "with torch.inference_mode():",
            f'    outputs = model(**processor({inputs}, return_tensors="pt"))',
            "label_map = processor.post_process_semantic_segmentation(outputs, [(picture.height, picture.width)])[0]",
            f'print({{name: f"{{(label_map == number).float().mean():.1%}}" for number, name in {named}}})',
        ]
    )


def _example_words(records: Sequence[EvaluationRecord]) -> list[str]:
    """The four names with the most pixels in the first result, or any four."""
    if not records:
        return ["sky", "tree", "road", "car"]
    classes = sorted(records[0].result["classes"], key=lambda row: -row["num_true_pixels"])
    return [row["name"] for row in classes[:4]]


def describe_use(checkpoint: CheckpointInspection) -> str:
    """Says what else there is to know of using it."""
    notes = [
        "With `fgaseg_hf` installed and imported, `trust_remote_code` is not needed. The pipeline "
        "`zero-shot-image-segmentation` gives labels, scores and masks."
    ]
    if checkpoint.vocabulary is not None:
        notes.append("Without words the model answers with its vocabulary; with `text=[...]`, with those words.")
    if "F32" not in checkpoint.dtypes:
        notes.append(f"The weights are stored as {', '.join(checkpoint.dtypes)}; a CPU wants `dtype=torch.float32`.")
    return " ".join(notes)


def describe_training(description: CardDescription) -> str:
    """Says how it was trained, as far as the description tells."""
    parts = []
    if description.training:
        parts.append(description.training.strip())
    if description.training_command:
        parts.append(f"```\n{shorten_command(description.training_command.strip())}\n```")
    if description.base_model:
        parts.append(f"It starts from {', '.join(f'`{model}`' for model in description.base_model)}.")
    if description.datasets:
        parts.append(f"Trained on {', '.join(f'`{name}`' for name in description.datasets)}.")
    return "\n\n".join(parts) or "How it was trained was not recorded."


def describe_limits(
    checkpoint: CheckpointInspection, records: Sequence[EvaluationRecord], description: CardDescription
) -> str:
    """Lists what it cannot do: what the description says, what follows from its settings, and what was measured."""
    config = checkpoint.config
    sentences = [*description.limits]
    if checkpoint.vocabulary is None or checkpoint.vocabulary.background is None:
        sentences.append(
            "It labels every pixel with one of the given words, also where none fits; `threshold` leaves such pixels "
            "out."
        )
    sentences.append(
        f"Pictures are brought to {config.image_size} x {config.image_size} pixels and seen in patches of "
        f"{checkpoint.patch_size}: what is not much larger than a patch is easily missed. A sliding window "
        "(`segment_with_sliding_window`) looks closer."
    )
    if config.num_kept_classes is not None:
        sentences.append(
            f"With more than {config.num_kept_classes} words, those that look least likely are ruled out for a picture "
            "before the decoder (TopK); `num_kept_classes=None` switches this off."
        )
    for record in records:
        occurring = [row for row in record.result["classes"] if row["num_true_pixels"]]
        never = sum(not row["iou"] for row in occurring)
        if never:
            sentences.append(
                f"Not found at all in `{record.report['split']}`, given {record.words}: {never} of the "
                f"{len(occurring)} classes that occur."
            )
    return "\n".join(f"- {' '.join(sentence.split())}" for sentence in sentences)


def describe_bias(description: CardDescription) -> str:
    """Says what is known of its bias."""
    if description.bias:
        return description.bias.strip()
    if description.base_model:
        return (
            "Its towers were trained by others on pictures and texts; what these associate with people, places and "
            "words comes along. It was not examined for bias."
        )
    return "It was not examined for bias."


__all__ = [
    "describe_bias",
    "describe_limits",
    "describe_settings",
    "describe_training",
    "describe_use",
    "write_example",
]
