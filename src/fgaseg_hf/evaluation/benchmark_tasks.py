# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What one `fgaseg evaluate` has to measure: one data set, or several benchmarks one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.benchmarks import find_benchmark, read_preparation_record
from ..data.dataset_loading import DatasetArguments, default_split
from ..data.published_results import PUBLISHED_BENCHMARKS
from ..model.json_reading import parse_json
from .evaluation_arguments import EvaluationArguments


@dataclass(frozen=True)
class EvaluationTask:
    """One measurement.

    Attributes:
        name: of the benchmark; of anything else, of the split.
        options: how it is measured, and where its own result goes.
        dataset: what it is measured on.
        split: name of the split.
        is_one_of_several: whether a result that is there already is taken over.
    """

    name: str
    options: EvaluationArguments
    dataset: DatasetArguments
    split: str
    is_one_of_several: bool


def may_be_replaced(path: Path) -> bool:
    """Whether there is no file, or one without content or with the result of an earlier measurement."""
    if not path.is_file() or path.stat().st_size == 0:
        return True
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and {"result", "protocol"} <= report.keys()


def tasks_of(options: EvaluationArguments, dataset: DatasetArguments) -> list[EvaluationTask]:
    """Returns what is to be measured, in order.

    `--benchmark all` stands for the benchmarks that papers report, and `--benchmark a-150,pas-20` for these; then
    `--dataset` is a folder that holds the prepared folders, and `--output` a folder for the results.

    Raises:
        ValueError: a benchmark is unknown or has no data, or an option fits one data set only.
    """
    if not options.is_for_several(dataset):
        if options.output is not None and Path(options.output).is_dir():
            raise ValueError(f"--output is the folder {options.output}: name a JSON file in it.")
        if options.output is not None and not may_be_replaced(Path(options.output)):
            raise ValueError(
                f"The file {options.output} is there already and holds no result of a measurement: name another."
            )
        split = options.split or default_split(dataset)
        name = find_benchmark(dataset.benchmark).name if dataset.benchmark else _prepared_for(dataset) or split
        if options.published and name not in PUBLISHED_BENCHMARKS:
            raise ValueError(
                f"--published compares with {', '.join(PUBLISHED_BENCHMARKS)}, not with {name}: name one of these with "
                "--benchmark, or all."
            )
        return [EvaluationTask(name, options, dataset, split, is_one_of_several=False)]
    for argument, owner in (("split", options), ("save_pictures", options), ("worst", options)):
        if getattr(owner, argument) is not None:
            raise ValueError(f"--{argument} is for one benchmark: leave it out, or name one with --benchmark.")
    for argument in ("class_names", "prompts", "id_map", "ignored_ids", "annotation_column", "background_id"):
        if getattr(dataset, argument) is not None:
            raise ValueError(f"--{argument} is for one data set, but --benchmark names several: leave it out.")
    if options.output is not None and Path(options.output).exists() and not Path(options.output).is_dir():
        raise ValueError(f"--output is the file {options.output}, but several benchmarks need a folder.")
    text = ",".join(PUBLISHED_BENCHMARKS) if dataset.benchmark == "all" else dataset.benchmark or ""
    names = [find_benchmark(name.strip()).name for name in text.split(",")]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"--benchmark names {repeated} twice: name it once.")
    return [_task(options, dataset, name, folder) for name, folder in _find_folders(dataset.dataset, names).items()]


def make_output_folders(tasks: Sequence[EvaluationTask]) -> None:
    """Makes the folders that results will lie in: what cannot be made is found out before anything is measured.

    Raises:
        ValueError: one cannot be made.
    """
    for folder in {Path(task.options.output).parent for task in tasks if task.options.output is not None}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"The folder {folder} of --output cannot be made ({error.strerror}).") from error


def _task(options: EvaluationArguments, dataset: DatasetArguments, name: str, folder: str | None) -> EvaluationTask:
    output = None if options.output is None else str(Path(options.output) / f"{name}.json")
    own_dataset = replace(dataset, benchmark=name, dataset=folder)
    own_options = replace(options, output=output)
    return EvaluationTask(name, own_options, own_dataset, default_split(own_dataset), is_one_of_several=True)


def _find_folders(parent: str | None, names: Sequence[str]) -> dict[str, str | None]:
    """Returns the prepared folder of each benchmark, or None where its data come from the Hub."""
    folder_of: dict[str, str] = {}
    if parent is not None:
        if not Path(parent).is_dir():
            raise ValueError(
                f"There is no folder {parent}: for several benchmarks, --dataset is the folder that holds those that "
                "`fgaseg prepare` made."
            )
        for folder in sorted([Path(parent), *(path for path in Path(parent).iterdir() if path.is_dir())]):
            record = read_preparation_record(folder)
            if record is not None and record["benchmark"] in names:
                other = folder_of.setdefault(record["benchmark"], str(folder))
                if other != str(folder):
                    raise ValueError(f"Both {other} and {folder} hold {record['benchmark']}: move one of them away.")
    missing = [name for name in names if name not in folder_of and find_benchmark(name).hub_id is None]
    if missing:
        raise ValueError(
            f"There are no data for {', '.join(missing)}: make a folder of each, as in `fgaseg prepare {missing[0]} "
            f"--source PUBLISHED_FILES --out {parent or 'FOLDER'}/{missing[0]}`, name its parent with --dataset, or "
            "measure on those that you have, as in --benchmark a-150,pas-20."
        )
    return {name: folder_of.get(name) for name in names}


def _prepared_for(dataset: DatasetArguments) -> str | None:
    record = None if dataset.dataset is None else read_preparation_record(dataset.dataset)
    return None if record is None else record["benchmark"]
