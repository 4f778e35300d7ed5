# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains a small CLIP from nothing on pictures and captions alone, to segment with it training-free.

    python training/train_clip.py --dataset scenes --tokenizer scenes_tokenizer --output_dir runs/clip
    fgaseg training-free runs/clip --out runs/clip_segmenter

A caption is made of the names that stand in a random part of a picture ("A photo of a red car, grass in the scene"):
the model learns what is in a picture, and is never told where. The loss is CLIP's own (arXiv 2103.00020).
"""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel

from fgaseg_hf.data.augmentation import IGNORED_LABEL
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.data.segmentation_split import SegmentationSplit
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script
from fgaseg_hf.model.prompt_tokenizer import DEFAULT_PROMPT_TEMPLATE

LOG_FILE = "training_log.jsonl"


@dataclass
class ClipTrainingArguments:
    """What is trained, and how."""

    output_dir: str | None = field(default=None, metadata={"help": "where the CLIP and the log go; must not exist"})
    tokenizer: str | None = field(default=None, metadata={"help": "folder or Hub id of a CLIP tokenizer"})
    train_split: str = field(default="train", metadata={"help": "split to train on"})
    image_size: int = field(default=64, metadata={"help": "side in pixels of what the model sees"})
    patch_size: int = field(default=16, metadata={"help": "side of a patch in pixels"})
    hidden_size: int = field(default=128, metadata={"help": "width of both towers, 64 channels a head"})
    vision_layers: int = field(default=4, metadata={"help": "blocks of the image tower"})
    text_layers: int = field(default=2, metadata={"help": "blocks of the text tower"})
    projection_dim: int = field(default=96, metadata={"help": "size of the space that pictures and texts share"})
    part_range: list[float] = field(
        default_factory=lambda: [0.2, 0.5],
        metadata={"help": "least and greatest side of a part, as a share of the picture's"},
    )
    parts_per_picture: int = field(default=2, metadata={"help": "parts cut out of a picture that was read"})
    min_share: float = field(default=0.03, metadata={"help": "least share of a part's pixels that is worth a name"})
    max_names: int = field(default=3, metadata={"help": "most names a caption"})
    max_steps: int = field(default=1000, metadata={"help": "optimiser steps, and length of the cosine"})
    batch_size: int = field(default=64, metadata={"help": "pairs of picture and caption a step"})
    learning_rate: float = field(default=1e-3, metadata={"help": "AdamW's peak rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "of the matrices"})
    warmup_steps: int = field(default=50, metadata={"help": "steps of rising rate"})
    logging_steps: int = field(default=25, metadata={"help": "steps between two lines of the log"})
    seed: int = field(default=0, metadata={"help": "seed of weights, pictures, parts and captions"})

    def __post_init__(self) -> None:
        for name in ("output_dir", "tokenizer"):
            if getattr(self, name) is None:
                raise ValueError(f"--{name} is missing; see --help.")
        if self.hidden_size % 64:
            raise ValueError(f"--hidden_size is {self.hidden_size}; set it to a multiple of 64.")
        if len(self.part_range) != 2 or not 0 < self.part_range[0] <= self.part_range[1] <= 1:
            raise ValueError(f"--part_range is {self.part_range}; give two rising shares between 0 and 1.")
        if not 0 <= self.min_share < 1:
            raise ValueError(f"--min_share is {self.min_share}; set it to a share below 1.")
        for name in ("parts_per_picture", "max_steps", "batch_size", "max_names", "logging_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; set it to 1 or more.")


def main(arguments: Sequence[str] | None = None) -> CLIPModel:
    """Trains as the arguments say, and returns the model that it saved."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    options, dataset = parse_arguments((ClipTrainingArguments, DatasetArguments), arguments, description=__doc__)
    output = Path(options.output_dir)
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"There is something in {output} already; name a new folder.")
    split = load_segmentation_splits(dataset, [options.train_split])[options.train_split]
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = CLIPModel(clip_config(options, tokenizer))
    model = model.to(device).train()
    side = options.image_size
    image_processor = CLIPImageProcessorPil(
        size={"height": side, "width": side}, crop_size={"height": side, "width": side}
    )
    matrices = [weights for weights in model.parameters() if weights.dim() > 1]
    rest = [weights for weights in model.parameters() if weights.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": options.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=options.learning_rate,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, options))

    output.mkdir(parents=True, exist_ok=True)
    started, losses = time.monotonic(), []
    with (output / LOG_FILE).open("w", encoding="utf-8") as log:
        for step in tqdm(range(1, options.max_steps + 1), desc="training", dynamic_ncols=True):
            pictures, captions = draw_pairs(split, options, step)
            inputs = tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
            inputs |= image_processor(pictures, do_resize=False, do_center_crop=False, return_tensors="pt")
            loss = model(**{name: values.to(device) for name, values in inputs.items()}, return_loss=True).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                # as CLIP: pictures and texts are never scaled by more than 100
                model.logit_scale.clamp_(max=math.log(100))
            losses.append(loss.item())
            if step % options.logging_steps == 0 or step == options.max_steps:
                row = {
                    "step": step,
                    "loss": round(sum(losses) / len(losses), 4),
                    "logit_scale": round(model.logit_scale.exp().item(), 3),
                    "minutes": round((time.monotonic() - started) / 60, 2),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                losses = []
    model.eval().save_pretrained(output)
    tokenizer.save_pretrained(output)
    image_processor.save_pretrained(output)
    print(f"The CLIP lies in {output}")
    return model


def clip_config(options: ClipTrainingArguments, tokenizer: Any) -> CLIPConfig:
    """Describes the model: both towers of one width, the text tower as the tokenizer needs it."""
    tower = {
        "hidden_size": options.hidden_size,
        "intermediate_size": 4 * options.hidden_size,
        "num_attention_heads": options.hidden_size // 64,
    }
    return CLIPConfig(
        text_config={
            **tower,
            "num_hidden_layers": options.text_layers,
            "max_position_embeddings": tokenizer.model_max_length,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            **tower,
            "num_hidden_layers": options.vision_layers,
            "image_size": options.image_size,
            "patch_size": options.patch_size,
        },
        projection_dim=options.projection_dim,
    )


def learning_rate_factor(step: int, options: ClipTrainingArguments) -> float:
    """Returns the share of the peak rate at a step: a linear rise, then a cosine down to 0."""
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(options.max_steps - options.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def draw_pairs(
    split: SegmentationSplit, options: ClipTrainingArguments, step: int
) -> tuple[list[Image.Image], list[str]]:
    """Draws a step's parts of pictures with their captions; the same step draws the same."""
    random = np.random.default_rng([options.seed, step])
    pictures: list[Image.Image] = []
    captions: list[str] = []
    while len(pictures) < options.batch_size:
        picture, labels = split[int(random.integers(len(split)))]
        for _ in range(options.parts_per_picture):
            part, labels_of_part = random_part(picture, labels, options, random)
            caption = caption_of(labels_of_part, split.class_names, options, random)
            if caption is not None:
                pictures.append(part)
                captions.append(caption)
    return pictures[: options.batch_size], captions[: options.batch_size]


def random_part(
    picture: Image.Image, labels: np.ndarray, options: ClipTrainingArguments, random: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Cuts a square out of a picture, mirrored half of the time, at the model's size, and its class ids."""
    height, width = labels.shape
    side = max(1, round(min(height, width) * random.uniform(options.part_range[0], options.part_range[1])))
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    part = picture.crop((left, top, left + side, top + side)).resize(
        (options.image_size,) * 2, Image.Resampling.BICUBIC
    )
    labels = labels[top : top + side, left : left + side]
    if random.random() < 0.5:
        part, labels = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT), labels[:, ::-1]
    return part, labels


def caption_of(
    labels: np.ndarray, class_names: Sequence[str], options: ClipTrainingArguments, random: np.random.Generator
) -> str | None:
    """Names some of what is in a part, in any order; None if there is nothing to name."""
    present, counts = np.unique(labels, return_counts=True)
    named = present[(present != IGNORED_LABEL) & (counts >= options.min_share * labels.size)]
    if not len(named):
        return None
    count = int(random.integers(1, min(len(named), options.max_names) + 1))
    chosen = random.choice(named, size=count, replace=False)
    return DEFAULT_PROMPT_TEMPLATE.replace("{}", ", ".join(class_names[index] for index in chosen))


if __name__ == "__main__":
    run_script(main)
