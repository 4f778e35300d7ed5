# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures an FGASeg model on one split of a segmentation data set, and writes one JSON result.

    python training/evaluate.py --model runs/camvid/best --dataset FOLDER --split validation --output camvid.json
    accelerate launch --multi_gpu --num_processes 2 training/evaluate.py --model ... --protocol published

The counts are exact on any number of processes: each picture is counted once, in the same company. With `--output`, the
same command goes on where it was killed.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from tqdm.auto import tqdm
from transformers import AutoProcessor

from ..data.segmentation_data import (
    DatasetArguments,
    SegmentationSplit,
    default_split,
    load_segmentation_splits,
    spread_evenly,
)
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import DEFAULT_PROMPT_TEMPLATE, FGASegProcessor
from ..release.checkpoint_hashes import hash_checkpoint
from .command_line_arguments import parse_arguments, run_script
from .partial_counts import PartialCounts
from .prediction_pictures import side_by_side
from .run_description import describe_device, describe_run, write_atomically
from .segmentation_evaluation import EvaluationProtocol, SegmentationPredictor, evaluate_segmentation, runs_on_cpu
from .segmentation_metrics import format_class_table, load_class_groups

# What users of open words do: several sentences around each word, whose embeddings are averaged.
USER_TEMPLATES = (DEFAULT_PROMPT_TEMPLATE, "a photo of a {}", "a picture of the {}", "there is a {} in this picture")
# TopK of the released decoder.
USER_KEPT_CLASSES = 16


@dataclass
class EvaluationArguments:
    """What is measured, and how."""

    model: str | None = field(default=None, metadata={"help": "FGASeg checkpoint: folder or Hub id"})
    split: str | None = field(
        default=None, metadata={"help": "split to measure on; the benchmark's own, 'validation' without one"}
    )
    protocol: Literal["published", "users"] | None = field(
        default=None,
        metadata={
            "help": "fills in what is not given: 'published' is sliding windows and the whole picture, unpooled class "
            "attention, the published template, first synonyms; 'users' is the whole picture, several templates, all "
            "synonyms, TopK; without it, as the model's files say"
        },
    )
    vocabulary: str = field(
        default="all", metadata={"help": "'all' names for every picture, or 'picture+16': its own and 16 others"}
    )
    sliding_window: bool = field(default=False, metadata={"help": "windows and the whole picture, as published"})
    window_size: int | None = field(default=None, metadata={"help": "side of a window; image_size if not given"})
    resized_size: int | None = field(default=None, metadata={"help": "side of the picture under the windows"})
    prompt_templates: list[str] | None = field(
        default=None, metadata={"help": "sentences with one {} for the class name; their embeddings are averaged"}
    )
    num_kept_classes: int | None = field(default=None, metadata={"help": "TopK: classes that the decoder works out"})
    class_pooling_size: int | None = field(default=None, metadata={"help": "pooling before class attention; 1 is none"})
    batch_size: int = field(default=4, metadata={"help": "pictures, or windows, at a time in each process"})
    num_pictures: int | None = field(default=None, metadata={"help": "measure on this many pictures, spread evenly"})
    seed: int = field(default=0, metadata={"help": "seed of the other names of 'picture+16'"})
    output: str | None = field(default=None, metadata={"help": "JSON file for the result"})
    save_every: int = field(
        default=50, metadata={"help": "with --output, keep the counts every so many pictures of a process"}
    )
    save_pictures: list[str] | None = field(
        default=None, metadata={"help": "N FOLDER: save N pictures beside prediction and truth, spread over the split"}
    )
    worst: list[str] | None = field(
        default=None,
        metadata={
            "help": "N [FOLDER]: save the N pictures of least mean IoU in the same way; by default next to --output"
        },
    )

    def __post_init__(self) -> None:
        if self.model is None:
            raise ValueError("--model is missing: the folder or Hub id of an FGASeg checkpoint.")
        if self.save_pictures is not None and (len(self.save_pictures) != 2 or not self.save_pictures[0].isdigit()):
            raise ValueError("--save_pictures takes a number and a folder, as in --save_pictures 5 pictures.")
        if self.worst is not None:
            if len(self.worst) == 1 and self.output is not None:
                self.worst = [self.worst[0], str(Path(self.output).with_suffix("")) + "_worst"]
            if len(self.worst) != 2 or not self.worst[0].isdigit():
                raise ValueError("--worst takes a number and, without --output, a folder, as in --worst 20 pictures.")
        if self.save_every < 1:
            raise ValueError(f"--save_every is {self.save_every}, but must be at least 1.")

    def fill_in(self, dataset: DatasetArguments) -> None:
        """Gives what was not given the values of the protocol."""
        fillings: dict[str, Any] = {}
        if self.protocol == "published":
            self.sliding_window = True
            fillings = {"class_pooling_size": 1, "prompt_templates": [DEFAULT_PROMPT_TEMPLATE]}
        elif self.protocol == "users":
            fillings = {"num_kept_classes": USER_KEPT_CLASSES, "prompt_templates": list(USER_TEMPLATES)}
        for name, value in fillings.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if self.protocol is not None and dataset.prompted_synonyms is None:
            dataset.prompted_synonyms = "first" if self.protocol == "published" else "all"

    def config_overrides(self) -> dict[str, Any]:
        """Returns the fields of the model's config that the arguments change."""
        overrides = {name: getattr(self, name) for name in ("num_kept_classes", "class_pooling_size")}
        return {name: value for name, value in overrides.items() if value is not None}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures as the arguments say, and returns what the JSON file holds."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    options, dataset = parse_arguments((EvaluationArguments, DatasetArguments), arguments, description=__doc__)
    options.fill_in(dataset)
    accelerator = Accelerator(cpu=runs_on_cpu())
    model = FGASegForSemanticSegmentation.from_pretrained(
        options.model, dtype=torch.float32, **options.config_overrides()
    )
    model = model.to(accelerator.device).eval()
    processor = AutoProcessor.from_pretrained(options.model)
    if options.prompt_templates is not None:
        processor = FGASegProcessor(processor.image_processor, processor.tokenizer, options.prompt_templates)
    with accelerator.main_process_first():
        split_name = options.split or default_split(dataset)
        split = load_segmentation_splits(dataset, [split_name])[split_name]
    class_groups = load_class_groups(dataset.class_groups) if dataset.class_groups else None
    protocol = EvaluationProtocol(
        vocabulary=options.vocabulary,
        view="sliding_window" if options.sliding_window else "whole",
        window_size=options.window_size,
        resized_size=options.resized_size,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    run = describe_run(arguments)
    measured = {
        "model": options.model,
        "checkpoint": hash_checkpoint(options.model),
        "config_sha256": hashlib.sha256(model.config.to_json_string().encode()).hexdigest(),
        "dataset": dataclasses.asdict(dataset),
        "rows_fingerprint": getattr(split.rows, "_fingerprint", None),
        "labels": describe_labels(split),
        "split": split_name,
        "protocol": dataclasses.asdict(protocol)
        | {
            "name": options.protocol,
            "num_kept_classes": model.config.num_kept_classes,
            "class_pooling_size": model.config.class_pooling_size,
            "prompt_templates": processor.prompt_templates,
        },
    }
    partial_counts = None
    if options.output:
        partial_counts = PartialCounts(
            Path(f"{options.output}.partial"),
            measured | {"class_names": split.class_names, "num_pictures": options.num_pictures},
            save_every=options.save_every,
        )

    # the pictures that `evaluate_segmentation` takes
    chosen = spread_evenly(len(split) if options.num_pictures is None else options.num_pictures, len(split))
    evaluation = evaluate_segmentation(
        model,
        processor,
        split,
        accelerator,
        protocol,
        num_pictures=options.num_pictures,
        partial_counts=partial_counts,
        progress=partial(tqdm, desc=split_name, dynamic_ncols=True, disable=not accelerator.is_main_process),
    )
    metric, seconds = evaluation.metric, evaluation.seconds
    result = metric.compute(class_groups)
    counts = metric.state_dict()["counts"].cpu().numpy().astype("<i8")
    worst = evaluation.worst(int(options.worst[0])) if options.worst else []
    report = {
        **run,
        "device": describe_device(accelerator.device),
        "num_processes": accelerator.num_processes,
        **measured,
        "seconds": round(seconds, 1),
        "pictures_per_second": round(metric.num_pictures / seconds, 2),
        "result": result.to_dict(),
        "worst_pictures": [{"row": row, "mean_iou": mean_iou} for row, mean_iou in worst],
        "confusion_matrix_sha256": hashlib.sha256(counts.tobytes()).hexdigest(),
    }
    if accelerator.is_main_process:
        print(format_class_table(result, class_groups))
        print(f"{metric.num_pictures} pictures in {seconds:.0f} s")
        if options.output:
            Path(options.output).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(options.output), json.dumps(report, indent=2) + "\n")
            print(f"The result lies in {options.output}")
    accelerator.wait_for_everyone()

    predictor = SegmentationPredictor(model, processor, split, protocol, accelerator.device)
    if options.save_pictures is not None:
        wanted = [chosen[place] for place in spread_evenly(int(options.save_pictures[0]), len(chosen))]
        files = [(row, Path(options.save_pictures[1]) / f"{row:06d}.png") for row in wanted]
        save_side_by_side(predictor, files, accelerator)
    if options.worst is not None:
        # named by rank, so that a folder's listing begins with the worst
        files = [
            (row, Path(options.worst[1]) / f"{rank:02d}_row{row:06d}_miou{100 * mean_iou:04.1f}.png")
            for rank, (row, mean_iou) in enumerate(worst, start=1)
        ]
        save_side_by_side(predictor, files, accelerator)
    if partial_counts is not None and accelerator.is_main_process:
        partial_counts.remove()
    accelerator.end_training()
    return report


def describe_labels(split: SegmentationSplit) -> dict[str, Any]:
    """Returns how label maps were read and what was asked for, with everything that a benchmark filled in."""
    one_each = np.array_equal(split.class_of_prompt, np.arange(len(split.class_names)))
    id_map = {str(published): class_id for published, class_id in (split.id_map or {}).items()}
    return {
        "image_column": split.image_column,
        "annotation_column": split.annotation_column,
        "decoding": split.decoding,
        "ignored_ids": list(split.ignored_ids),
        "id_map": id_map or None,
        "ignore_unmapped_ids": split.ignore_unmapped_ids,
        "prompts": split.prompts,
        "class_of_prompt": None if one_each else split.class_of_prompt.tolist(),
        "background_id": split.background_id,
        "max_short_side": split.max_short_side,
    }


def save_side_by_side(
    predictor: SegmentationPredictor, files: Sequence[tuple[int, Path]], accelerator: Accelerator
) -> None:
    """Predicts some pictures again and saves each beside its truth; the processes share the work.

    Args:
        predictor: predicts the pictures.
        files: places in the split, each with the file to write.
        accelerator: says which files are this process's.
    """
    for row, path in files[accelerator.process_index :: accelerator.num_processes]:
        path.parent.mkdir(parents=True, exist_ok=True)
        ((picture, labels, prediction),) = predictor.predict([row])
        side_by_side(picture, prediction, labels, predictor.split.class_names).save(path)


if __name__ == "__main__":
    run_script(main)
