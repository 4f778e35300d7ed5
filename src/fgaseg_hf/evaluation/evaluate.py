# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures an FGASeg model on one split of a segmentation data set, or on several benchmarks, and writes JSON.

    fgaseg evaluate --model runs/camvid/best --dataset FOLDER --split validation --output camvid.json
    fgaseg evaluate --model catseg-base --benchmark all --published --dataset FOLDER_OF_FOLDERS --output results
    accelerate launch --multi_gpu --num_processes 2 training/evaluate.py --model ... --protocol published

The counts are exact on any number of processes: each picture is counted once, in the same company. With `--output`, the
same command goes on where it was killed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from tqdm.auto import tqdm

from ..conversion.model_loading import load_model as load_any_model
from ..data.class_list_files import load_class_groups
from ..data.dataset_loading import DatasetArguments, load_segmentation_splits
from ..data.segmentation_split import SegmentationSplit
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..model.quoting import reason_of
from .benchmark_tasks import EvaluationTask, make_output_folders, tasks_of
from .command_line_arguments import ExpectedEnd, parse_arguments, run_script
from .evaluation_arguments import EvaluationArguments
from .measurement_description import describe_evaluation, describe_measurement, describe_odd_result
from .partial_counts import PartialCounts
from .prediction_pictures import save_pictures
from .published_comparison import compare_with_published, format_comparison
from .run_description import describe_run, write_atomically
from .segmentation_evaluation import SegmentationPredictor, evaluate_segmentation, runs_on_cpu
from .segmentation_results import format_class_table


class NotWritten(ExpectedEnd):
    """Counts or a result cannot be written, on a full disk for instance; the same command goes on."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures as the arguments say.

    Returns:
        What the JSON file holds; of several benchmarks, what the file of each holds, by name.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    options, dataset = parse_arguments((EvaluationArguments, DatasetArguments), arguments, description=__doc__)
    options.fill_in(dataset)
    tasks = tasks_of(options, dataset)
    class_groups = load_class_groups(dataset.class_groups) if dataset.class_groups else None
    make_output_folders(tasks)
    run = describe_run(arguments)
    # the others wait while one process fetches the data set
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=24))
    accelerator = Accelerator(cpu=runs_on_cpu(), kwargs_handlers=[patience])
    model, processor = load_model(options, accelerator.device)
    # all of them before the first is measured: what lacks is found out in minutes, not after days
    with accelerator.main_process_first():
        splits = [load_segmentation_splits(task.dataset, [task.split])[task.split] for task in tasks]
    reports = {}
    for task, split in zip(tasks, splits, strict=True):
        try:
            reports[task.name] = measure(task, split, model, processor, accelerator, run, class_groups)
        except OSError as error:
            raise NotWritten(
                f"The measurement of {task.name} was cut off ({reason_of(error)}): mend this, and the same command "
                "goes on where it was."
            ) from error
    if options.published and accelerator.is_main_process:
        comparison = compare_with_published(options.model or "", reports)
        print(format_comparison(comparison))
        if options.output and len(tasks) > 1:
            write_atomically(Path(options.output) / "published.json", json.dumps(comparison, indent=2) + "\n")
    accelerator.end_training()
    return reports if options.is_for_several(dataset) else reports[tasks[0].name]


def measure(
    task: EvaluationTask,
    split: SegmentationSplit,
    model: FGASegForSemanticSegmentation,
    processor: FGASegProcessor,
    accelerator: Accelerator,
    run: Mapping[str, Any],
    class_groups: Mapping[str, Sequence[str]] | None,
) -> dict[str, Any]:
    """Measures on one split, prints a table, writes the result and the pictures that were asked for, and returns it."""
    options = task.options
    measured = describe_measurement(options, task.dataset, task.split, split, model, processor)
    report = finished_report(task, measured, accelerator)
    if report is not None:
        return report
    partial_counts = keep_counts(options, measured, split)
    evaluation = evaluate_segmentation(
        model,
        processor,
        split,
        accelerator,
        options.to_protocol(),
        num_pictures=options.num_pictures,
        partial_counts=partial_counts,
        progress=partial(tqdm, desc=task.name, dynamic_ncols=True, disable=not accelerator.is_main_process),
    )
    report = {**run, **describe_evaluation(options, evaluation, measured, class_groups, accelerator)}
    if accelerator.is_main_process:
        result = evaluation.metric.compute(class_groups)
        print(format_class_table(result, class_groups))
        print(f"{result.num_pictures} pictures in {evaluation.seconds:.0f} s")
        remark = describe_odd_result(result)
        if remark is not None:
            print(f"Look at the label maps: {remark}.")
        if options.output:
            write_atomically(Path(options.output), json.dumps(report, indent=2) + "\n")
            print(f"The result lies in {options.output}")
    accelerator.wait_for_everyone()
    predictor = SegmentationPredictor(model, processor, split, options.to_protocol(), accelerator.device)
    save_pictures(options, evaluation, predictor, accelerator)
    if partial_counts is not None and accelerator.is_main_process:
        partial_counts.remove()
    return report


def finished_report(
    task: EvaluationTask, measured: Mapping[str, Any], accelerator: Accelerator
) -> dict[str, Any] | None:
    """Returns the result of one of several benchmarks that an earlier command has measured; None if it is to be made.

    A result of anything else, another model or other label maps, is no result of this.
    """
    found: list[dict[str, Any] | None] = [None]
    if accelerator.is_main_process and task.is_one_of_several and task.options.output:
        path = Path(task.options.output)
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            wanted = json.loads(json.dumps(measured))
            if {name: report.get(name) for name in wanted} == wanted and "result" in report:
                found = [report]
                print(f"{task.name}: measured before, see {path}")
        except (OSError, ValueError, AttributeError):
            pass
    # one answer for all, whatever the others see of the file
    return broadcast_object_list(found)[0]


def load_model(
    options: EvaluationArguments, device: torch.device
) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Loads the model in full precision, with the fields of its config that the arguments change, and its processor.

    Raises:
        ValueError: there is no such model, or it cannot be read.
    """
    loaded = load_any_model(options.model or "", **options.config_overrides())
    processor = loaded.processor
    if options.prompt_templates is not None:
        processor = FGASegProcessor(processor.image_processor, processor.tokenizer, options.prompt_templates)
    model: Any = loaded.model
    return model.to(device), processor


def keep_counts(
    options: EvaluationArguments, measured: dict[str, Any], split: SegmentationSplit
) -> PartialCounts | None:
    """Returns where counts are kept while they are made; None without `--output`."""
    if not options.output:
        return None
    depends_on = measured | {"class_names": split.class_names}
    return PartialCounts(Path(f"{options.output}.partial"), depends_on, save_every=options.save_every)


if __name__ == "__main__":
    run_script(main)
