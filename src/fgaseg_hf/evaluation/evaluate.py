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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers import AutoProcessor

from ..data.annotated_share import describe_odd_annotation
from ..data.class_list_files import load_class_groups
from ..data.dataset_loading import DatasetArguments, default_split, load_segmentation_splits
from ..data.segmentation_split import SegmentationSplit, spread_evenly
from ..data.split_rows import folder_stamp
from ..data.text_files import quoted, shortened
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..model.text_encoding import hash_tokenizer
from ..release.checkpoint_hashes import hash_checkpoint
from .command_line_arguments import parse_arguments, run_script
from .evaluation_arguments import EvaluationArguments
from .partial_counts import PartialCounts
from .prediction_pictures import side_by_side
from .run_description import describe_device, describe_run, write_atomically
from .segmentation_evaluation import (
    SegmentationEvaluation,
    SegmentationPredictor,
    evaluate_segmentation,
    runs_on_cpu,
)
from .segmentation_results import SegmentationResult, format_class_table


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures as the arguments say, and returns what the JSON file holds."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    options, dataset = parse_arguments((EvaluationArguments, DatasetArguments), arguments, description=__doc__)
    options.fill_in(dataset)
    class_groups = load_class_groups(dataset.class_groups) if dataset.class_groups else None
    make_parent_folder(options.output)
    run = describe_run(arguments)
    accelerator = Accelerator(cpu=runs_on_cpu())
    model, processor = load_model(options, accelerator.device)
    with accelerator.main_process_first():
        split_name = options.split or default_split(dataset)
        split = load_segmentation_splits(dataset, [split_name])[split_name]
    measured = describe_measurement(options, dataset, split_name, split, model, processor)
    partial_counts = keep_counts(options, measured, split)

    evaluation = evaluate_segmentation(
        model,
        processor,
        split,
        accelerator,
        options.to_protocol(),
        num_pictures=options.num_pictures,
        partial_counts=partial_counts,
        progress=partial(tqdm, desc=split_name, dynamic_ncols=True, disable=not accelerator.is_main_process),
    )
    report = run | describe_evaluation(options, evaluation, measured, class_groups, accelerator)
    if accelerator.is_main_process:
        print(format_class_table(evaluation.metric.compute(class_groups), class_groups))
        print(f"{evaluation.metric.num_pictures} pictures in {evaluation.seconds:.0f} s")
        remark = describe_odd_result(evaluation.metric.compute())
        if remark is not None:
            print(f"Look at the label maps: {remark}.")
        write_report(options, report)
    accelerator.wait_for_everyone()
    predictor = SegmentationPredictor(model, processor, split, options.to_protocol(), accelerator.device)
    save_pictures(options, evaluation, predictor, accelerator)
    if partial_counts is not None and accelerator.is_main_process:
        partial_counts.remove()
    accelerator.end_training()
    return report


def make_parent_folder(output: str | None) -> None:
    """Makes the folder that a result will lie in: what cannot be made is found out before anything is measured.

    Raises:
        ValueError: it cannot be made.
    """
    if output is not None:
        folder = Path(output).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"The folder {folder} of --output cannot be made ({error.strerror}).") from error


def load_model(
    options: EvaluationArguments, device: torch.device
) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Loads the model in full precision, with the fields of its config that the arguments change, and its processor.

    Raises:
        ValueError: there is no such model, or it cannot be read.
    """
    try:
        model = FGASegForSemanticSegmentation.from_pretrained(
            options.model, dtype=torch.float32, **options.config_overrides()
        )
        processor = AutoProcessor.from_pretrained(options.model)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"The model {quoted(options.model)} cannot be loaded ({shortened(error)}): give --model the folder or id "
            "of an FGASeg checkpoint."
        ) from error
    if options.prompt_templates is not None:
        processor = FGASegProcessor(processor.image_processor, processor.tokenizer, options.prompt_templates)
    return model.to(device).eval(), processor


def describe_measurement(
    options: EvaluationArguments,
    dataset: DatasetArguments,
    split_name: str,
    split: SegmentationSplit,
    model: FGASegForSemanticSegmentation,
    processor: FGASegProcessor,
) -> dict[str, Any]:
    """Returns all that the counts depend on, for JSON."""
    return {
        "model": options.model,
        "checkpoint": hash_checkpoint(options.model or ""),
        "config_sha256": hashlib.sha256(model.config.to_json_string().encode()).hexdigest(),
        "processor_sha256": hash_processor(processor),
        "dataset": dataclasses.asdict(dataset),
        "rows_fingerprint": fingerprint_rows(dataset, split),
        "labels": describe_labels(split),
        "split": split_name,
        "protocol": dataclasses.asdict(options.to_protocol())
        | {
            "name": options.protocol,
            "num_kept_classes": model.config.num_kept_classes,
            "class_pooling_size": model.config.class_pooling_size,
            "prompt_templates": processor.prompt_templates,
        },
    }


def hash_processor(processor: FGASegProcessor) -> str:
    """Hashes how pictures and words are turned into a model's inputs."""
    settings = processor.image_processor.to_json_string()
    return hashlib.sha256(f"{settings} {hash_tokenizer(processor.tokenizer)}".encode()).hexdigest()


def fingerprint_rows(dataset: DatasetArguments, split: SegmentationSplit) -> str:
    """Returns a text that changes with the rows that are measured on: with the files of a folder, or a Hub revision."""
    folder = Path(dataset.dataset) if dataset.dataset is not None else None
    stamp = folder_stamp(folder) if folder is not None and folder.is_dir() else ""
    return hashlib.sha256(f"{split.rows._fingerprint} {stamp}".encode()).hexdigest()


def keep_counts(
    options: EvaluationArguments, measured: dict[str, Any], split: SegmentationSplit
) -> PartialCounts | None:
    """Returns where counts are kept while they are made; None without `--output`."""
    if not options.output:
        return None
    depends_on = measured | {"class_names": split.class_names, "num_pictures": options.num_pictures}
    return PartialCounts(Path(f"{options.output}.partial"), depends_on, save_every=options.save_every)


def describe_evaluation(
    options: EvaluationArguments,
    evaluation: SegmentationEvaluation,
    measured: dict[str, Any],
    class_groups: dict[str, list[str]] | None,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Returns what was measured, on what machine, and the result, for JSON."""
    counts = evaluation.metric.state_dict()["counts"].cpu().numpy().astype("<i8")
    worst = evaluation.worst(int(options.worst[0])) if options.worst else []
    return {
        "device": describe_device(accelerator.device),
        "num_processes": accelerator.num_processes,
        **measured,
        "seconds": round(evaluation.seconds, 1),
        "pictures_per_second": round(evaluation.metric.num_pictures / evaluation.seconds, 2),
        "result": evaluation.metric.compute(class_groups).to_dict(),
        "worst_pictures": [{"row": row, "mean_iou": mean_iou} for row, mean_iou in worst],
        "confusion_matrix_sha256": hashlib.sha256(counts.tobytes()).hexdigest(),
    }


def write_report(options: EvaluationArguments, report: dict[str, Any]) -> None:
    """Writes the JSON file, if one was asked for."""
    if options.output:
        write_atomically(Path(options.output), json.dumps(report, indent=2) + "\n")
        print(f"The result lies in {options.output}")


def describe_odd_result(result: SegmentationResult) -> str | None:
    """Says which classes no label map holds, and how much is ignored where that is more than half."""
    names = [row.name for row in result.classes]
    return describe_odd_annotation(names, [row.num_true_pixels for row in result.classes], result.num_ignored_pixels)


def save_pictures(
    options: EvaluationArguments,
    evaluation: SegmentationEvaluation,
    predictor: SegmentationPredictor,
    accelerator: Accelerator,
) -> None:
    """Saves the pictures that were asked for: some spread over the split, and the worst."""
    if options.save_pictures is not None:
        number, folder = int(options.save_pictures[0]), Path(options.save_pictures[1])
        wanted = [evaluation.rows[place] for place in spread_evenly(number, len(evaluation.rows))]
        save_side_by_side(predictor, [(row, folder / f"{row:06d}.png") for row in wanted], accelerator)
    if options.worst is not None:
        number, folder = int(options.worst[0]), Path(options.worst[1])
        # named by rank, so that a folder's listing begins with the worst
        files = [
            (row, folder / f"{rank:02d}_row{row:06d}_miou{100 * mean_iou:04.1f}.png")
            for rank, (row, mean_iou) in enumerate(evaluation.worst(number), start=1)
        ]
        save_side_by_side(predictor, files, accelerator)


def describe_labels(split: SegmentationSplit) -> dict[str, Any]:
    """Returns how label maps were read and what was asked for, with everything that a benchmark filled in."""
    one_each = np.array_equal(split.class_of_prompt, np.arange(len(split.class_names)))
    id_map = {str(published): class_id for published, class_id in (split.id_map or {}).items()}
    return {
        "image_column": split.image_column,
        "annotation_column": split.annotation_column,
        "decoding": split.decoding,
        "ignored_ids": list(split.ignored_ids or ()),
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
