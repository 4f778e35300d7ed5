# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What fine-tuning on some names does to all others: ways of fine-tuning the built-in model, compared.

`python training/finetuning_study.py --output runs/finetuning` trains on drawn scenes in which twelve names are
annotated and the rest is not, and then asks held-out scenes for these twelve, and for twenty-four other names. With
`--dataset FOLDER --class_names NAMES.txt` it trains on pictures of a data set in the Hub's layout instead, and asks its
validation split for its names; the other names are still asked of scenes. Each way and seed has a result file, and what
is there is not computed again; `--table` prints what lies there, and `--plot FILE` draws it.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
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
from fgaseg_hf.data.class_list_files import load_class_names
from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix
from fgaseg_hf.training.optimizer_groups import parameter_groups

NUM_OWN, NUM_OTHER = 12, 24
IGNORED = 255
# Scenes of a seed; training, measuring and counting names use none of each other's.
SCENES_OF_A_SEED = 2**20
HELD_OUT, OTHER_SCENES = 99, 50
LORA: dict[str, Any] = {
    "r": 8,
    "target_modules": r"fgaseg\.(text|vision)_model\..*\.(q|v)_proj",
    "modules_to_save": ["p2tformer", "local_pseudo_masks", "upsampling_guidance", "decoder", "alignment_head"],
}
# What trains of CLIP, at which share of the rate, and what else a way does. "everything" has one rate, as the stock
# Trainer gives it; "query and value" has the published recipe's two.
WAYS: dict[str, dict[str, Any]] = {
    "none": {"steps": 0},
    "everything": {"trainable_clip": "all", "clip_share": 1.0},
    "query and value": {"trainable_clip": "query_value", "clip_share": 0.01},
    "towers frozen": {"trainable_clip": "none"},
    "LoRA": {"trainable_clip": "none", "clip_share": 1.0},
    # The weights half way between those of before and those of the way above.
    "LoRA, half way": {"half_of": "LoRA"},
    "query and value, a quarter of other scenes": {
        "trainable_clip": "query_value",
        "clip_share": 0.01,
        "other_share": 0.25,
    },
}

Sample = tuple[Any, np.ndarray]


@cache
def scenes(seed: int, count: int, size: int) -> list[Sample]:
    """Scenes of a seed, with label maps of places among all names."""
    return [generate_scene(SCENES_OF_A_SEED * seed + index, "train", size) for index in range(count)]


@cache
def names_by_frequency(size: int) -> list[str]:
    """All names of some scenes, the most frequent first."""
    counts: Counter[int] = Counter()
    for _, label_map in scenes(0, 60, size):
        counts.update(np.unique(label_map).tolist())
    return [CLASS_NAMES[place] for place, _ in counts.most_common() if place < len(CLASS_NAMES)]


def annotated(samples: Sequence[Sample], names: Sequence[str]) -> list[Sample]:
    """The same scenes, with places among some names, and `IGNORED` for all else."""
    table = np.full(2**16, IGNORED, dtype=np.int64)
    for place, name in enumerate(names):
        table[CLASS_NAMES.index(name)] = place
    return [(picture, table[label_map.astype(np.int64)]) for picture, label_map in samples]


@cache
def dataset_samples(folder: Path, split: str, num_classes: int) -> list[Sample]:
    """All pictures of a split, with `IGNORED` where no class is."""
    import datasets

    samples = []
    for row in datasets.load_dataset(str(folder), split=split):
        ids = np.asarray(row["annotation"]).astype(np.int64)
        samples.append((row["image"].convert("RGB"), np.where(ids < num_classes, ids, IGNORED)))
    return samples


class Task:
    """What is trained and what is asked: names and pictures, of scenes or of a data set."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        size = options.size
        ranked = names_by_frequency(size)
        self.names, self.others = ranked[:NUM_OWN], ranked[NUM_OWN : NUM_OWN + NUM_OTHER]
        held_out = scenes(HELD_OUT, options.held_out, size)
        self.others_held_out = annotated(held_out, self.others)
        # Names that are trained with other scenes are not those that are measured.
        self.replayed_names = ranked[NUM_OWN + NUM_OTHER : NUM_OWN + 2 * NUM_OTHER]
        self.replayed = annotated(scenes(OTHER_SCENES + seed, options.pictures, size), self.replayed_names)
        if options.dataset is None:
            self.held_out = annotated(held_out, self.names)
            self.pictures = annotated(scenes(1 + seed, options.pictures, size), self.names)
        else:
            self.names = load_class_names(str(options.dataset), options.class_names)
            trained, measured = (
                dataset_samples(options.dataset, split, len(self.names)) for split in ("train", "validation")
            )
            chosen = np.random.default_rng(seed).permutation(len(trained))[: options.pictures]
            self.pictures = [trained[index] for index in chosen]
            self.held_out = measured[:: max(1, len(measured) // options.held_out)][: options.held_out]


@torch.no_grad()
def measure(model: Any, processor: Any, samples: Sequence[Sample], names: Sequence[str]) -> float:
    """Mean IoU of some names, asked together, over the pixels that are labelled with them."""
    metric = SegmentationConfusionMatrix(list(names), (IGNORED,))
    words = model.get_text_embeddings(**processor(text=list(names), return_tensors="pt"))
    for picture, labels in samples:
        logits = model(**processor(images=picture, return_tensors="pt"), text_embeddings=words).logits
        metric.update(processor.post_process_semantic_segmentation(logits, [labels.shape])[0].numpy(), labels)
    return metric.compute().summary()["mean_iou"]


def train(model: Any, processor: Any, task: Task, way: dict[str, Any], steps: int, options: argparse.Namespace) -> None:
    """Trains on pictures in which the names are annotated; some batches, drawn by chance, are other scenes."""
    groups = parameter_groups(model, options.learning_rate, clip_learning_rate_multiplier=way.get("clip_share", 1.0))
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = np.random.default_rng(options.seed)
    model.train()
    for _ in range(steps):
        is_other = generator.random() < way.get("other_share", 0.0)
        pictures = task.replayed if is_other else task.pictures
        chosen = [pictures[index] for index in generator.choice(len(pictures), options.batch_size, replace=False)]
        batch = processor(
            images=[picture for picture, _ in chosen],
            segmentation_maps=[labels for _, labels in chosen],
            return_tensors="pt",
        )
        # The model knows its own names; others stand in the batch.
        words = processor(text=task.replayed_names, return_tensors="pt") if is_other else {}
        model(**batch, **words).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def run(options: argparse.Namespace) -> None:
    """Fine-tunes one way with one seed, measures, and writes the result's file, or files."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    task, way = Task(options, options.seed), WAYS[options.way]
    model = FGASegForSemanticSegmentation.from_pretrained(
        builtin_model_folder(),
        dtype=torch.float32,
        id2label=dict(enumerate(task.names)),
        label2id={name: index for index, name in enumerate(task.names)},
    )
    model.config.ignored_pixels_as_negatives = False
    start = {name: values.clone() for name, values in model.state_dict().items()}
    model.set_trainable_clip(way.get("trainable_clip", "none"))
    processor = FGASegProcessor.from_pretrained(builtin_model_folder())
    processor.image_processor.size = {"height": options.size, "width": options.size}
    steps, begin = way.get("steps", options.steps), time.process_time()
    trained: Any = model
    if options.way == "LoRA":
        from peft import LoraConfig, get_peft_model

        trained = get_peft_model(model, LoraConfig(**LORA))
    if steps:
        train(trained, processor, task, way, steps, options)
    result = {
        "seed": options.seed,
        "steps": steps,
        "cpu_seconds": time.process_time() - begin,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    model = trained.merge_and_unload() if options.way == "LoRA" else trained

    def write(name: str) -> None:
        own = measure(model, processor, task.held_out, task.names)
        other = measure(model, processor, task.others_held_out, task.others)
        numbers = {"way": name, "own_names": own, "other_names": other, **result}
        result_path(options.output, name, options.seed).write_text(json.dumps(numbers, indent=2))
        print(json.dumps(numbers), flush=True)

    write(options.way)
    for name, settings in WAYS.items():
        if settings.get("half_of") == options.way:
            end = model.state_dict()
            half = {key: torch.lerp(start[key].float(), end[key].float(), 0.5) for key in start}
            model.load_state_dict({key: values.to(end[key].dtype) for key, values in half.items()})
            write(name)


def result_path(folder: Path, way: str, seed: int) -> Path:
    """Where the numbers of a way and a seed lie."""
    return folder / f"{way.replace(' ', '_').replace(',', '')}-{seed}.json"


def read_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All numbers that are there, by way, in the ways' order."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows = {way: [result for result in results if result["way"] == way] for way in WAYS}
    return {way: runs for way, runs in rows.items() if runs}


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """A row a way: means, and standard deviations over the seeds."""
    lines = [
        "| way | mIoU of its names | mIoU of other names | seeds | processor seconds | peak memory, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for way, runs in rows.items():
        cells = [way]
        for key in ("own_names", "other_names"):
            values = [100 * result[key] for result in runs]
            deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{deviation}")
        cells.append(str(len(runs)))
        cells += [
            f"{statistics.mean(result[key] for result in runs):.0f}" for key in ("cpu_seconds", "peak_memory_mib")
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_plot(rows: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws what each way knows of its own names (x) and of others (y): a dot a seed, a square their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for way, runs in rows.items():
        own, other = ([100 * result[key] for result in runs] for key in ("own_names", "other_names"))
        (mean,) = axes.plot(statistics.mean(own), statistics.mean(other), "s", markersize=8, label=way)
        axes.plot(own, other, ".", color=mean.get_color())
    axes.set_xlabel("mIoU of the names that were trained, per cent")
    axes.set_ylabel("mIoU of other names, per cent")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the result files")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="which of them")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="a run each")
    parser.add_argument("--steps", type=int, default=200, help="optimiser steps of a run")
    parser.add_argument("--batch_size", type=int, default=4, help="pictures of a step")
    parser.add_argument("--pictures", type=int, default=50, help="pictures to train on")
    parser.add_argument("--size", type=int, default=192, help="side of a picture in pixels")
    parser.add_argument("--held_out", type=int, default=60, help="held-out pictures to measure on")
    parser.add_argument("--learning_rate", type=float, default=1e-3, help="of all but CLIP, at the start")
    parser.add_argument("--dataset", type=Path, help="folder in the Hub's layout to train on, instead of scenes")
    parser.add_argument("--class_names", help="file of its class names, if there is none in the folder")
    parser.add_argument("--plot", type=Path, help="file to draw what is there into")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    # A process each, so that one's memory is not counted as another's. They inherit the pictures where they can.
    has_fork = "fork" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if has_fork else "spawn")
    for seed in [] if options.table else options.seeds:
        for way in options.ways:
            of_run = WAYS[way].get("half_of", way)
            if not result_path(options.output, way, seed).exists():
                if has_fork:
                    Task(options, seed)
                process = context.Process(
                    target=run, args=(argparse.Namespace(**{**vars(options), "way": of_run, "seed": seed}),)
                )
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(f"The run {of_run!r} with the seed {seed} ended with {process.exitcode}.")
    rows = read_results(options.output)
    print(table(rows))
    if options.plot is not None:
        draw_plot(rows, options.plot)


if __name__ == "__main__":
    main()
