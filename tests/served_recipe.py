# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What the shipped recipes fetch, small, and served as the Hub serves it: COCO-Stuff by name, columns and ids; CLIP.

So `--config coco_stuff_vitb16_384` runs as it is written, but for sizes.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from hub_server import Hub, HubRepository
from PIL import Image
from tiny_models import TINY, tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import CLIPConfig, CLIPModel

from fgaseg_hf.data.benchmarks import find_benchmark

# Ids as published: what the pictures hold, a hole of the numbering, and what is not annotated.
SEEN_IDS = (0, 1, 2, 3, 91)
HOLE, UNLABELLED = 11, 255
NUM_PICTURES = {"train": 16, "validation": 5}
# What differs from the recipes: the sizes.
SIZES: dict[str, Any] = {
    "model_config": {name: list(value) if isinstance(value, tuple) else value for name, value in TINY.items()}
    | {"num_aggregation_layers": 1, "class_limit": None, "class_padding": 8},
    "num_workers": 0,
    "num_sampled_classes": 6,
    "evaluation_vocabulary": "picture+4",
    "evaluation_steps": 10,
    "checkpoint_steps": 4,
    "logging_steps": 1,
    "max_steps": 20,
}


def serve(hub: Hub) -> None:
    """Puts the data set and the CLIP checkpoint into a stand-in for the Hub."""
    benchmark = find_benchmark("coco-stuff")
    assert benchmark.hub_id is not None
    files = {"README.md": b"---\nlicense: cc-by-4.0\n---\nMade pictures.\n"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for split, number in NUM_PICTURES.items():
            # two files, so that a fetch may end between them
            rows = _rows(number, benchmark.image_column, benchmark.annotation_column)
            for part in range(2):
                path = folder / f"{split}-{part:05}-of-00002.parquet"
                rows.shard(2, part).to_parquet(path)
                files[f"data/{path.name}"] = path.read_bytes()
        hub.repositories[benchmark.hub_id] = HubRepository(files, ["first"])

        tiny = tiny_config()
        towers = {"text_config": tiny.text_config.to_dict(), "vision_config": tiny.vision_config.to_dict()}
        CLIPModel(CLIPConfig(**towers, projection_dim=tiny.projection_dim)).save_pretrained(folder / "clip")
        tiny_tokenizer().save_pretrained(folder / "clip")
        clip = {path.name: path.read_bytes() for path in (folder / "clip").iterdir()}
    for name in ("openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14-336"):
        hub.repositories[name] = HubRepository(dict(clip), ["first"])


def _rows(num_pictures: int, image_column: str, annotation_column: str) -> Dataset:
    """Pictures of two flat parts of unequal size, in colours of their classes."""
    generator = np.random.default_rng(num_pictures)
    colours = generator.integers(0, 256, (256, 3))
    pictures, label_maps = [], []
    for number in range(num_pictures):
        above, below = generator.permutation(SEEN_IDS)[:2]
        labels = np.full((40, 48), above, dtype=np.uint8)
        labels[generator.integers(6, 34) :] = below
        # as unevenly as can be: so each process's pixels weigh differently
        labels[: 2 + 3 * (number % 8), :10] = UNLABELLED
        labels[-2:, -2:] = HOLE
        noise = generator.integers(-10, 10, (40, 48, 3))
        pictures.append(Image.fromarray((colours[labels] + noise).clip(0, 255).astype(np.uint8)))
        label_maps.append(Image.fromarray(labels))
    features = Features({image_column: ImageFeature(), annotation_column: ImageFeature()})
    return Dataset.from_dict({image_column: pictures, annotation_column: label_maps}, features=features)


def write_sizes(folder: Path, **changes: Any) -> Path:
    """Writes the configuration that goes after a recipe's own."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(SIZES | changes))
    return path


def read_losses(output: Path) -> dict[int, float]:
    """The loss of each step, by the log of a run."""
    lines = [json.loads(line) for line in (output / "training_log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def evaluated_steps(output: Path) -> list[int]:
    """After which steps a run was evaluated."""
    lines = [json.loads(line) for line in (output / "training_log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "validation/mean_iou" in line]


def greatest_difference(found: dict[int, float], expected: dict[int, float]) -> float:
    """The greatest distance of the losses of two runs that made the same steps."""
    if found.keys() != expected.keys():
        return float("inf")
    return max(abs(found[step] - expected[step]) for step in expected)
