# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What fine-tuning on some names does to all others: ways of fine-tuning the built-in model, compared on drawn scenes.

`python training/finetuning_study.py --output runs/finetuning` trains on scenes in which twelve names are annotated and
the rest is not, and then asks held-out scenes for these twelve, and for twenty-four other names. Each way and seed has
a result file, and what is there is not computed again; `--table` prints what lies there.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).parent / "scenes"))
from scene_composition import generate_scene
from scene_vocabulary import CLASS_NAMES

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor, builtin_model_folder
from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix
from fgaseg_hf.training.optimizer_groups import parameter_groups

NUM_OWN, NUM_OTHER = 12, 24
IGNORED = 255
# Scenes of a seed; training, measuring and counting names use none of each other's.
SCENES_OF_A_SEED = 2**20
LORA: dict[str, Any] = {
    "r": 8,
    "target_modules": r"fgaseg\.(text|vision)_model\..*\.(q|v)_proj",
    "modules_to_save": ["p2tformer", "local_pseudo_masks", "upsampling_guidance", "decoder", "alignment_head"],
}
# What trains of CLIP, and what else a way does.
WAYS: dict[str, dict[str, Any]] = {
    "none": {"steps": 0},
    "everything": {"trainable_clip": "all"},
    "query and value": {"trainable_clip": "query_value"},
    "towers frozen": {"trainable_clip": "none"},
    "LoRA": {"trainable_clip": "none", "is_lora": True},
    "LoRA, half way": {"trainable_clip": "none", "is_lora": True, "weight": 0.5},
    "query and value, a quarter of other scenes": {"trainable_clip": "query_value", "other_share": 0.25},
}

Scene = tuple[Any, np.ndarray]


@cache
def names_by_frequency(size: int) -> list[str]:
    """All names of some scenes, the most frequent first."""
    counts: Counter[int] = Counter()
    for index in range(60):
        counts.update(np.unique(generate_scene(index, "train", size)[1]).tolist())
    return [CLASS_NAMES[place] for place, _ in counts.most_common() if place < len(CLASS_NAMES)]


def labels_among(names: Sequence[str], label_map: np.ndarray) -> np.ndarray:
    """Places among some names, and `IGNORED` for all else."""
    table = np.full(2**16, IGNORED, dtype=np.int64)
    for place, name in enumerate(names):
        table[CLASS_NAMES.index(name)] = place
    return table[label_map.astype(np.int64)]


@torch.no_grad()
def measure(model: Any, processor: Any, scenes: Sequence[Scene], names: Sequence[str]) -> float:
    """Mean IoU of some names, asked together, over the pixels that are labelled with them."""
    metric = SegmentationConfusionMatrix(list(names), (IGNORED,))
    words = model.get_text_embeddings(**processor(text=list(names), return_tensors="pt"))
    for picture, label_map in scenes:
        labels = labels_among(names, label_map)
        logits = model(**processor(images=picture, return_tensors="pt"), text_embeddings=words).logits
        metric.update(processor.post_process_semantic_segmentation(logits, [labels.shape])[0].numpy(), labels)
    return metric.compute().summary()["mean_iou"]


def train(model: Any, processor: Any, names: list[str], others: list[str], options: argparse.Namespace) -> None:
    """Trains on scenes in which the names are annotated; some of them, drawn by chance, have other names instead."""
    way = WAYS[options.way]
    optimizer = torch.optim.AdamW(parameter_groups(model, options.learning_rate))
    generator = np.random.default_rng(options.seed)
    model.train()
    for step in range(way.get("steps", options.steps)):
        is_other = generator.random() < way.get("other_share", 0.0)
        asked = others if is_other else names
        first = SCENES_OF_A_SEED * (options.seed + 1) + step * options.batch_size
        scenes = [generate_scene(first + index, "train", options.size) for index in range(options.batch_size)]
        batch = processor(
            images=[picture for picture, _ in scenes],
            segmentation_maps=[labels_among(asked, label_map) for _, label_map in scenes],
            return_tensors="pt",
        )
        # The model knows its own names; others stand in the batch.
        words = processor(text=asked, return_tensors="pt") if is_other else {}
        loss = model(**batch, **words).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fine-tunes one way with one seed, and measures."""
    torch.manual_seed(options.seed)
    way = WAYS[options.way]
    ranked = names_by_frequency(options.size)
    names, others = ranked[:NUM_OWN], ranked[NUM_OWN : NUM_OWN + NUM_OTHER]
    # Names that are trained with other scenes are not those that are measured.
    replayed = ranked[NUM_OWN + NUM_OTHER : NUM_OWN + 2 * NUM_OTHER]
    model = FGASegForSemanticSegmentation.from_pretrained(
        builtin_model_folder(),
        dtype=torch.float32,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    model.config.ignored_pixels_as_negatives = False
    start = {name: values.clone() for name, values in model.state_dict().items()}
    model.set_trainable_clip(way.get("trainable_clip", "none"))
    processor = FGASegProcessor.from_pretrained(builtin_model_folder())
    processor.image_processor.size = {"height": options.size, "width": options.size}
    begin = time.perf_counter()
    trained: Any = model
    if way.get("is_lora"):
        from peft import LoraConfig, get_peft_model

        trained = get_peft_model(model, LoraConfig(**LORA))
    train(trained, processor, names, replayed, options)
    seconds = time.perf_counter() - begin
    model = trained.merge_and_unload() if way.get("is_lora") else trained
    if "weight" in way:
        end = model.state_dict()
        mixed = {name: torch.lerp(start[name].float(), end[name].float(), way["weight"]) for name in start}
        model.load_state_dict({name: values.to(end[name].dtype) for name, values in mixed.items()})
    held_out = [generate_scene(SCENES_OF_A_SEED * 99 + index, "train", options.size) for index in range(options.scenes)]
    return {
        "way": options.way,
        "seed": options.seed,
        "steps": way.get("steps", options.steps),
        "own_names": measure(model, processor, held_out, names),
        "other_names": measure(model, processor, held_out, others),
        "seconds": seconds,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """A row a way, means over the seeds."""
    lines = ["| way | mIoU of its names | mIoU of other names | seeds | seconds |", "| --- | --- | --- | --- | --- |"]
    for way in WAYS:
        rows = [result for result in results if result["way"] == way]
        if rows:
            own, other, seconds = (
                np.mean([row[key] for row in rows]) for key in ("own_names", "other_names", "seconds")
            )
            lines.append(f"| {way} | {own:.1%} | {other:.1%} | {len(rows)} | {seconds:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the result files")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="which of them")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="a run each")
    parser.add_argument("--steps", type=int, default=200, help="optimiser steps of a run")
    parser.add_argument("--batch_size", type=int, default=4, help="scenes of a step")
    parser.add_argument("--size", type=int, default=192, help="side of a scene in pixels")
    parser.add_argument("--scenes", type=int, default=60, help="held-out scenes to measure on")
    parser.add_argument("--learning_rate", type=float, default=2e-4, help="of all but CLIP, which has a hundredth")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for seed in [] if options.table else options.seeds:
        for way in options.ways:
            path = options.output / f"{way.replace(' ', '_').replace(',', '')}-{seed}.json"
            if not path.exists():
                result = run(argparse.Namespace(**{**vars(options), "way": way, "seed": seed}))
                path.write_text(json.dumps(result, indent=2))
                print(json.dumps(result), flush=True)
    print(table([json.loads(path.read_text()) for path in sorted(options.output.glob("*.json"))]))


if __name__ == "__main__":
    main()
