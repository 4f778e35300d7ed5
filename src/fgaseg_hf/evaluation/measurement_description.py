# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""All that a measurement depends on, and what came of it, as it is written beside the numbers."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ..data.annotated_share import describe_odd_annotation
from ..data.dataset_loading import DatasetArguments
from ..data.segmentation_split import SegmentationSplit
from ..data.split_rows import folder_stamp
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..model.text_encoding import hash_tokenizer
from ..release.checkpoint_hashes import hash_checkpoint
from .evaluation_arguments import EvaluationArguments
from .run_description import describe_device
from .segmentation_evaluation import SegmentationEvaluation
from .segmentation_results import SegmentationResult


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
        "checkpoint": hash_loaded_checkpoint(model),
        "config_sha256": hashlib.sha256(model.config.to_json_string().encode()).hexdigest(),
        "processor_sha256": hash_processor(processor),
        "image_processor": type(processor.image_processor).__name__,
        "dataset": dataclasses.asdict(dataset),
        "rows_fingerprint": fingerprint_rows(dataset, split),
        "labels": describe_labels(split),
        "split": split_name,
        "num_pictures": options.num_pictures,
        "protocol": dataclasses.asdict(options.to_protocol())
        | {
            "name": options.protocol,
            "num_kept_classes": model.config.num_kept_classes,
            "class_pooling_size": model.config.class_pooling_size,
            "prompt_templates": processor.prompt_templates,
        },
    }


def hash_loaded_checkpoint(model: FGASegForSemanticSegmentation) -> dict[str, str]:
    """Hashes what makes a model's results its own: its files, or where these are of another format what was loaded."""
    hashes = None
    # a plain CLIP is no checkpoint of this model, though it can be measured
    with suppress(ValueError):
        hashes = hash_checkpoint(model.name_or_path) if model.name_or_path else None
    if hashes is not None:
        return hashes
    contents = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        contents.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        contents.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return {"loaded_weights_sha256": contents.hexdigest()}


def hash_processor(processor: FGASegProcessor) -> str:
    """Hashes how pictures and words are turned into a model's inputs."""
    settings = processor.image_processor.to_json_string()
    return hashlib.sha256(f"{settings} {hash_tokenizer(processor.tokenizer)}".encode()).hexdigest()


def fingerprint_rows(dataset: DatasetArguments, split: SegmentationSplit) -> str:
    """Returns a text that changes with the rows that are measured on: with the files of a folder, or a Hub revision."""
    folder = Path(dataset.dataset) if dataset.dataset is not None else None
    stamp = folder_stamp(folder) if folder is not None and folder.is_dir() else ""
    return hashlib.sha256(f"{split.rows._fingerprint} {stamp}".encode()).hexdigest()


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


def describe_evaluation(
    options: EvaluationArguments,
    evaluation: SegmentationEvaluation,
    measured: dict[str, Any],
    class_groups: Mapping[str, Sequence[str]] | None,
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


def describe_odd_result(result: SegmentationResult) -> str | None:
    """Says which classes no label map holds, and how much is ignored where that is more than half."""
    names = [row.name for row in result.classes]
    return describe_odd_annotation(names, [row.num_true_pixels for row in result.classes], result.num_ignored_pixels)
