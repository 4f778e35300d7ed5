# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains FGASeg on any segmentation data set with Accelerate; the defaults are the published recipe.

    python training/train.py --clip openai/clip-vit-base-patch16 --dataset my/dataset --output_dir runs/first
    accelerate launch --multi_gpu --num_processes 2 training/train.py --config training/configs/camvid_small.yaml ...

The second line starts two processes on CPUs too, which then talk by gloo; there, without `--multi_gpu`, Accelerate's
launcher starts a single process and does not say so.

A run is a function of its arguments: pictures, their order and their augmentation follow from `--seed` and the step,
not from the number of processes or of restarts (but for `--streaming`, see streamed_samples.py). `--batch_size` counts
the pictures of an optimiser step over all processes and accumulation steps and must be a multiple of their number, so
the same command trains the same model on one process or on eight.
"""

import dataclasses
import json
import math
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, send_to_device, set_seed
from PIL import Image
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import AutoProcessor, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from ..data.augmentation import AugmentationConfig
from ..data.class_frequencies import balanced_weights, count_pixels
from ..data.data_collator import FGASegDataCollator
from ..data.rare_class_sampling import RareClassSampler
from ..data.segmentation_data import (
    DatasetArguments,
    SegmentationSplit,
    ShardedBatches,
    TrainingSamples,
    VocabularySampler,
    load_segmentation_splits,
    spread_evenly,
)
from ..data.streamed_samples import StreamedSamples
from ..evaluation.command_line_arguments import parse_arguments, run_script
from ..evaluation.prediction_pictures import side_by_side
from ..evaluation.segmentation_evaluation import (
    EvaluationProtocol,
    SegmentationPredictor,
    evaluate_segmentation,
    runs_on_cpu,
)
from ..evaluation.segmentation_metrics import format_class_table, load_class_groups
from ..model.configuration_fgaseg import FGASegConfig
from ..model.image_processing_fgaseg import FGASegImageProcessorPil
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from .optimizer_groups import parameter_groups
from .synchronised_batch_norm import synchronise_batch_norms

LOG_FILE = "training_log.jsonl"
ARGUMENTS_FILE = "arguments.json"
CHECKPOINT_FOLDER = "checkpoints"
# Arguments that leave the weights as they are: a resumed run may change them.
HARMLESS_ARGUMENTS = {
    "checkpoint_steps",
    "evaluation_batch_size",
    "keep_checkpoints",
    "logging_steps",
    "max_minutes",
    "num_checked_label_maps",
    "num_logged_pictures",
    "output_dir",
    "report_to",
    "resume",
    "stop_at_step",
}
# Those on which only the samples of a streamed data set depend.
ARGUMENTS_OF_STREAMS = {"num_processes", "num_workers", "shuffle_buffer"}


@dataclass
class ModelArguments:
    """What is trained. Exactly one of `model`, `clip` and `model_config` says where the weights start."""

    model: str | None = field(default=None, metadata={"help": "FGASeg checkpoint to go on from: folder or Hub id"})
    init: Literal["from_catseg"] | None = field(
        default=None,
        metadata={
            "help": "with `from_catseg`, --model is a CAT-Seg, FGASeg's blocks are added to it and start neutral"
        },
    )
    clip: str | None = field(default=None, metadata={"help": "CLIP checkpoint for both towers; the rest starts fresh"})
    model_config: str | None = field(
        default=None,
        metadata={
            "help": "fields of FGASegConfig: JSON text, a JSON or YAML file, or a nested mapping in --config. Alone it "
            "describes a model to train from nothing (with --tokenizer); with --model or --clip it changes fields"
        },
    )
    config_overrides: str | None = field(
        default=None, metadata={"help": "single fields on top, as in `p2tformer_num_layers=0,use_alignment_head=false`"}
    )
    tokenizer: str | None = field(default=None, metadata={"help": "tokenizer, if it is not in CLIP's folder"})
    trainable_clip: Literal["query_value", "all", "none"] | None = field(
        default=None, metadata={"help": "which of CLIP's weights train; as the model's config says if not given"}
    )
    prompt_templates: list[str] | None = field(
        default=None, metadata={"help": "sentences with one {} for the class name; their embeddings are averaged"}
    )


@dataclass
class TrainingDataArguments(DatasetArguments):
    """What it is trained and evaluated on."""

    train_split: str = field(default="train", metadata={"help": "split to train on"})
    evaluation_splits: list[str] | None = field(
        default=None, metadata={"help": "splits to evaluate on; the best model has the highest mean of their mIoU"}
    )
    num_sampled_classes: int | None = field(
        default=None,
        metadata={"help": "train each picture on this many classes, its own and sampled others; all if not given"},
    )
    held_out_groups: list[str] | None = field(
        default=None, metadata={"help": "groups of --class_groups whose names training must never see, as `unseen`"}
    )
    rare_class_temperature: float | None = field(
        default=None,
        metadata={
            "help": "draw each crop for a class, rare ones more often the lower this is: see rare_class_sampling.py"
        },
    )
    class_balancing: float | None = field(
        default=None,
        metadata={
            "help": "weigh pixels of rare classes more in the losses: 0 not at all, 1 so that all classes count alike; "
            "see class_frequencies.py"
        },
    )
    label_stride: int = field(default=1, metadata={"help": "train on every so-many-th label pixel along both axes"})
    crop_size: list[int] | None = field(
        default=None, metadata={"help": "side, or height and width, of the crops; the model's image_size if not given"}
    )
    picture_size: list[int] | None = field(
        default=None,
        metadata={"help": "side, or height and width, of whole pictures in evaluation and later use; the crops'"},
    )
    scale_range: list[float] = field(
        default_factory=lambda: [1.0, 1.0],
        metadata={"help": "the picture's short side becomes the crop's times a random number of this range"},
    )
    flip_probability: float = field(default=0.5, metadata={"help": "share of mirrored pictures"})
    colour_jitter_probability: float = field(default=0.5, metadata={"help": "chance of each of SSD's colour changes"})
    streaming: bool = field(
        default=False,
        metadata={
            "help": "read the training split while training, each process its share, instead of fetching it first"
        },
    )
    shuffle_buffer: int = field(default=1000, metadata={"help": "with --streaming: rows to shuffle among"})
    num_workers: int = field(default=0, metadata={"help": "processes that prepare pictures, for each training process"})


@dataclass
class RecipeArguments:
    """How it is trained: the published recipe for COCO-Stuff, unless said otherwise."""

    output_dir: str | None = field(default=None, metadata={"help": "where models, checkpoints and the log go"})
    seed: int = field(default=0, metadata={"help": "seed of fresh weights, order of pictures, augmentation"})
    max_steps: int = field(default=80_000, metadata={"help": "optimiser steps, and length of the cosine"})
    stop_at_step: int | None = field(default=None, metadata={"help": "stop here with a checkpoint; the schedule stays"})
    max_minutes: float | None = field(default=None, metadata={"help": "stop with a checkpoint after this time"})
    batch_size: int = field(default=4, metadata={"help": "pictures an optimiser step, over all processes"})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "parts into which a step's batch is cut"})
    learning_rate: float = field(default=2e-4, metadata={"help": "AdamW's peak rate, for all but CLIP"})
    clip_learning_rate_multiplier: float = field(default=0.01, metadata={"help": "CLIP's share of the rate"})
    weight_decay: float = field(default=1e-4, metadata={"help": "AdamW's decay, for all but norms"})
    warmup_steps: int = field(default=0, metadata={"help": "steps over which the rate rises from 0"})
    max_grad_norm: float = field(default=0.01, metadata={"help": "the whole model's gradient norm is clipped at this"})
    mixed_precision: Literal["no", "bf16", "fp16"] | None = field(
        default=None,
        metadata={"help": "precision of the model; by default what Accelerate is configured to"},
    )
    gradient_checkpointing: bool = field(default=False, metadata={"help": "save memory: compute activations twice"})
    find_unused_parameters: bool = field(default=False, metadata={"help": "allow parameters without gradient in DDP"})
    logging_steps: int = field(default=10, metadata={"help": "a line in the log every so many steps"})
    report_to: str = field(
        default="none", metadata={"help": "tracker of Accelerate besides the log file: tensorboard, wandb and so on"}
    )
    num_logged_pictures: int = field(
        default=4, metadata={"help": "pictures of each evaluation split whose predictions the tracker is shown"}
    )
    checkpoint_steps: int = field(default=5000, metadata={"help": "a resumable checkpoint every so many steps"})
    keep_checkpoints: int = field(default=2, metadata={"help": "newest checkpoints to keep"})
    resume: bool = field(default=False, metadata={"help": "go on from the newest checkpoint in output_dir, if any"})
    evaluation_steps: int = field(default=5000, metadata={"help": "evaluate every so many steps, and at the end"})
    num_evaluation_pictures: int | None = field(default=None, metadata={"help": "pictures a split; all by default"})
    evaluation_batch_size: int = field(default=4, metadata={"help": "pictures at a time, for each process"})
    evaluation_vocabulary: str = field(
        default="all", metadata={"help": "'all' names for every picture, or 'picture+16': its own and 16 others"}
    )

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "batch_size",
            "gradient_accumulation_steps",
            "logging_steps",
            "checkpoint_steps",
            "keep_checkpoints",
            "evaluation_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}, but must be at least 1.")
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ValueError(f"--warmup_steps {self.warmup_steps} must be less than --max_steps {self.max_steps}.")
        known_trackers = ["none", *(str(tracker) for tracker in get_available_trackers())]
        if self.report_to not in known_trackers:
            raise ValueError(
                f"--report_to is {self.report_to!r}, but the trackers installed here are {', '.join(known_trackers)}."
            )
        if self.output_dir is None:
            raise ValueError("--output_dir is missing: the folder for models, checkpoints and the log.")


class TrainingDiverged(RuntimeError):
    """A loss or the gradient is NaN or infinite; says in which step and in which part."""


@dataclass
class LoopState:
    """What a checkpoint holds besides the weights and the optimiser's state."""

    step: int = 0
    best_mean_iou: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def learning_rate_factor(step: int, max_steps: int, warmup_steps: int = 0) -> float:
    """Returns the share of the peak learning rate in a step: linear warm-up, then a cosine that ends at 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (max_steps - warmup_steps)))


def read_model_config(arguments: ModelArguments) -> dict[str, Any]:
    """Collects the config fields that the arguments give.

    Raises:
        ValueError: `model_config` is neither a file nor JSON text of a mapping, or an override lacks its `=`.
    """
    fields: dict[str, Any] = {}
    if arguments.model_config is not None:
        text = arguments.model_config
        if not text.lstrip().startswith("{"):
            if not Path(text).is_file():
                raise ValueError(f"There is no model configuration file {text}.")
            text = Path(text).read_text(encoding="utf-8")
        fields = yaml.safe_load(text)
        if not isinstance(fields, dict):
            raise ValueError(
                f"The model configuration {arguments.model_config} must map FGASegConfig's fields to values."
            )
    for override in (arguments.config_overrides or "").split(","):
        if override.strip():
            name, equals, value = override.partition("=")
            if not equals:
                raise ValueError(f"The override {override!r} in --config_overrides must read field=value.")
            fields[name.strip()] = yaml.safe_load(value)
    if arguments.trainable_clip is not None:
        fields["trainable_clip"] = arguments.trainable_clip
    return fields


def height_and_width(size: list[int] | None, argument: str) -> tuple[int, int] | None:
    """Reads a size from the command line, one side or two; None if it is not given.

    Raises:
        ValueError: it has another length, or a side is not above 0.
    """
    if size is None:
        return None
    if len(size) not in (1, 2) or min(size) < 1:
        raise ValueError(f"{argument} is {size}, but must be one number above 0, or height and width.")
    return size[0], size[-1]


def build_model_and_processor(
    arguments: ModelArguments, image_size: tuple[int, int] | None = None
) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Loads or makes the model that is to be trained, and the processor that belongs to it.

    Args:
        arguments: where the weights start.
        image_size: height and width for the processor; the model's `image_size` if None.

    Raises:
        ValueError: not exactly one start is given, or a tokenizer is missing.
    """
    fields = read_model_config(arguments)
    if arguments.model and arguments.clip:
        raise ValueError("--model and --clip are given, but the weights can only start from one of them.")
    if arguments.init and not arguments.model:
        raise ValueError(f"--init {arguments.init} needs --model, the CAT-Seg checkpoint to go on from.")
    if arguments.tokenizer and arguments.model:
        raise ValueError("--tokenizer is given, but --model brings the tokenizer of its text tower: leave it out.")
    processor = None
    if arguments.model:
        model = FGASegForSemanticSegmentation.from_pretrained(
            arguments.model, init=arguments.init, dtype=torch.float32, **fields
        )
        processor = AutoProcessor.from_pretrained(arguments.model)
    elif arguments.clip:
        model = FGASegForSemanticSegmentation.from_clip(arguments.clip, **fields)
        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer or arguments.clip)
    elif arguments.model_config:
        if arguments.tokenizer is None:
            raise ValueError("A model from --model_config needs --tokenizer, a folder or Hub id of a tokenizer.")
        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
        model = FGASegForSemanticSegmentation(FGASegConfig(**with_vocabulary_of(tokenizer, fields)))
    else:
        raise ValueError("Nothing to train: pass --model, --clip, or --model_config with --tokenizer.")

    if processor is None:
        side = model.config.image_size
        image_processor = FGASegImageProcessorPil(size={"height": side, "width": side})
        processor = FGASegProcessor(image_processor=image_processor, tokenizer=tokenizer)
    if image_size is not None:
        processor.image_processor.size = {"height": image_size[0], "width": image_size[1]}
    if arguments.prompt_templates is not None:
        processor = FGASegProcessor(
            image_processor=processor.image_processor,
            tokenizer=processor.tokenizer,
            prompt_templates=arguments.prompt_templates,
        )
    return model, processor


def with_vocabulary_of(tokenizer: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Adds the tokenizer's size and special ids to a config's text tower, where the config does not say them."""
    from_tokenizer = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    known = {name: value for name, value in from_tokenizer.items() if value is not None}
    return fields | {"text_config": known | (fields.get("text_config") or {})}


def describe_training(model: torch.nn.Module) -> str:
    """Returns a table of the parameters by block: how many there are, and how many of them train."""
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        block = ".".join(name.split(".")[:2])
        block = block.removesuffix(".weight").removesuffix(".bias")
        total[block] += parameter.numel()
        trained[block] += parameter.numel() if parameter.requires_grad else 0
    width = max(len(block) for block in total)
    rows = [f"  {block:<{width}}  {trained[block]:>12,} of {count:>12,}" for block, count in total.items()]
    rows.append(f"  {'all':<{width}}  {sum(trained.values()):>12,} of {sum(total.values()):>12,}")
    return "Parameters that train, by block:\n" + "\n".join(rows)


def loss_parts(outputs: Any) -> dict[str, torch.Tensor]:
    """Returns the loss and its unweighted parts by name, detached."""
    parts = {"loss": outputs.loss, "segmentation_loss": outputs.segmentation_loss}
    if outputs.alignment_loss is not None:
        parts["alignment_loss"] = outputs.alignment_loss
    for number, loss in enumerate(outputs.auxiliary_losses or ()):
        parts[f"auxiliary_loss_{number}"] = loss
    return {name: part.detach().float() for name, part in parts.items()}


class TrainingLog:
    """Log file of JSON lines, with a tracker beside it on request; only the main process writes.

    Args:
        folder: the run's folder.
        accelerator: for its trackers and process number.
        first_step: lines of later steps, left by a run that was cut off after its checkpoint, are removed.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, first_step: int) -> None:
        self.path = folder / LOG_FILE
        self.accelerator = accelerator
        if accelerator.is_main_process and self.path.is_file():
            kept = []
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                # The last line may be cut off in its middle.
                if line.endswith("\n") and json.loads(line)["step"] <= first_step:
                    kept.append(line)
            self.path.write_text("".join(kept), encoding="utf-8")

    def write_pictures(self, step: int, pictures: dict[str, list[Image.Image]]) -> None:
        """Gives pictures to the trackers that take some; those of one name may differ in size."""
        for tracker in self.accelerator.trackers:
            if not hasattr(tracker, "log_images"):
                continue
            for name, group in pictures.items():
                # one name each, as a stack of pictures would need one size
                named = {f"{name}/{place}": np.asarray(picture)[None] for place, picture in enumerate(group)}
                options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images(named, step=step, **options)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Appends a line; numbers at its top level go to the tracker too."""
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self.accelerator.log(numbers, step=step)


def replace_folder(new: Path, old: Path) -> None:
    """Puts a finished folder in another's place: a reader finds the old one or the new one, never half of one."""
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def checkpoints_in(folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a run, oldest first."""
    found = [path for path in (folder / CHECKPOINT_FOLDER).glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


class TrainingRun:
    """One run of the loop: its model, its data, and what it writes.

    Args:
        model_arguments: what is trained.
        data_arguments: on what.
        recipe: how.
    """

    def __init__(
        self, model_arguments: ModelArguments, data_arguments: TrainingDataArguments, recipe: RecipeArguments
    ) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.output_dir or "")
        self.accelerator = Accelerator(
            cpu=runs_on_cpu(),
            mixed_precision=recipe.mixed_precision,
            gradient_accumulation_steps=recipe.gradient_accumulation_steps,
            log_with=None if recipe.report_to == "none" else recipe.report_to,
            project_dir=str(self.folder),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=recipe.find_unused_parameters)],
        )
        if self.accelerator.distributed_type == DistributedType.FSDP and data_arguments.evaluation_splits:
            self.say(
                "warning: under FSDP no process holds the whole model, so nothing is evaluated in training; measure "
                "the saved model with training/evaluate.py."
            )
            data_arguments = dataclasses.replace(data_arguments, evaluation_splits=None)
        checkpoints = checkpoints_in(self.folder)
        if (checkpoints or (self.folder / LOG_FILE).exists()) and not recipe.resume:
            raise ValueError(f"{self.folder} already holds a run; pass --resume to go on, or another --output_dir.")
        self.accelerator.wait_for_everyone()
        self.folder.mkdir(parents=True, exist_ok=True)
        set_seed(recipe.seed)

        crop_size = height_and_width(data_arguments.crop_size, "--crop_size")
        picture_size = height_and_width(data_arguments.picture_size, "--picture_size")
        model, self.processor = build_model_and_processor(model_arguments, picture_size or crop_size)
        if recipe.gradient_checkpointing:
            model.activation_checkpointing_enable()
        if self.accelerator.num_processes > 1:
            synchronise_batch_norms(model, self.accelerator.device.type)
        self.say(describe_training(model))

        size = self.processor.image_processor.size
        self._load_data(data_arguments, crop_size or (size["height"], size["width"]), model.config)
        groups = parameter_groups(
            model, recipe.learning_rate, recipe.weight_decay, recipe.clip_learning_rate_multiplier
        )
        self.peak_rates = [group["lr"] for group in groups]
        self.model, self.optimizer = self.accelerator.prepare(model, torch.optim.AdamW(groups, lr=recipe.learning_rate))

        self.state = LoopState()
        if checkpoints:
            self._load_checkpoint(checkpoints[-1])
        self.log = TrainingLog(self.folder, self.accelerator, self.state.step)
        self._record_arguments(model_arguments, data_arguments, recipe)
        if recipe.report_to != "none":
            self.accelerator.init_trackers(recipe.report_to)
        self.stop_requested = False

    def say(self, text: str) -> None:
        """Prints on the main process, without breaking the progress bar."""
        if self.accelerator.is_main_process:
            tqdm.write(text)
            sys.stdout.flush()

    def _record_arguments(self, *groups: Any) -> None:
        """Writes what the run was started with; on going on, says what changed, as it then is another run."""
        if not self.accelerator.is_main_process:
            return
        path = self.folder / ARGUMENTS_FILE
        arguments = {name: value for group in groups for name, value in dataclasses.asdict(group).items()}
        arguments["num_processes"] = self.accelerator.num_processes
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = {name for name, value in arguments.items() if before.get(name) != value}
            if not arguments["streaming"]:
                changed -= ARGUMENTS_OF_STREAMS
            for name in sorted(changed - HARMLESS_ARGUMENTS):
                self.say(f"warning: --{name} was {before.get(name)!r} before and is {arguments[name]!r} now.")
        path.write_text(json.dumps(arguments, indent=2) + "\n", encoding="utf-8")

    def _load_data(self, arguments: TrainingDataArguments, crop_size: tuple[int, int], config: FGASegConfig) -> None:
        with self.accelerator.main_process_first():
            splits = load_segmentation_splits(
                arguments,
                [arguments.train_split, *(arguments.evaluation_splits or ())],
                streamed_names=[arguments.train_split] if arguments.streaming else [],
            )
        class_names = splits[arguments.train_split].class_names
        if self.accelerator.is_main_process:
            for name, split in splits.items():
                if arguments.streaming and name == arguments.train_split:
                    self.say(f"{name}: streamed, {len(class_names)} classes, label maps are checked as they come")
                    continue
                num_checked = split.check_label_maps(arguments.num_checked_label_maps)
                self.say(f"{name}: {len(split)} pictures, {len(class_names)} classes, {num_checked} label maps checked")
        self.accelerator.wait_for_everyone()

        self.class_groups = load_class_groups(arguments.class_groups) if arguments.class_groups else None
        vocabulary = None
        if arguments.num_sampled_classes is not None:
            held_out = self._names_of_groups(arguments.held_out_groups or ())
            vocabulary = VocabularySampler(class_names, arguments.num_sampled_classes, held_out)
        elif arguments.held_out_groups:
            raise ValueError("--held_out_groups needs --num_sampled_classes: else every picture trains on all names.")

        self.evaluation_splits = {name: splits[name] for name in arguments.evaluation_splits or ()}
        for name in ("rare_class_temperature", "class_balancing"):
            if arguments.streaming and getattr(arguments, name) is not None:
                raise ValueError(f"--{name} needs all label maps at the start: leave out --streaming.")
        if arguments.streaming and arguments.train_split in self.evaluation_splits:
            raise ValueError("A split that is streamed cannot be evaluated on: leave out --streaming.")
        image_processor = self.processor.image_processor
        train_split = splits[arguments.train_split]
        choose_picture = class_weights = None
        if arguments.rare_class_temperature is not None or arguments.class_balancing is not None:
            num_pixels = count_pixels(train_split)
            if arguments.rare_class_temperature is not None:
                choose_picture = RareClassSampler(num_pixels, arguments.rare_class_temperature)
            if arguments.class_balancing is not None:
                class_weights = balanced_weights(num_pixels, arguments.class_balancing)
        self.samples = TrainingSamples(
            train_split,
            AugmentationConfig(
                crop_size=crop_size,
                scale_range=(arguments.scale_range[0], arguments.scale_range[-1]),
                flip_probability=arguments.flip_probability,
                colour_jitter_probability=arguments.colour_jitter_probability,
            ),
            seed=self.recipe.seed,
            image_mean=image_processor.image_mean,
            image_std=image_processor.image_std,
            vocabulary=vocabulary,
            choose_picture=choose_picture,
            label_stride=arguments.label_stride,
            ignore_index=config.semantic_loss_ignore_index,
        )
        self.collate = FGASegDataCollator(
            self.processor, class_names, prompts=train_split.training_prompts, class_weights=class_weights
        )
        self.num_workers = arguments.num_workers
        self.shuffle_buffer = arguments.shuffle_buffer if arguments.streaming else None

    def _names_of_groups(self, groups: Sequence[str]) -> list[str]:
        unknown = sorted(set(groups) - set(self.class_groups or {}))
        if unknown:
            raise ValueError(f"--held_out_groups names {unknown[0]!r}, which is no group of the file --class_groups.")
        return [name for group in groups for name in (self.class_groups or {})[group]]

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        recipe, accelerator = self.recipe, self.accelerator
        numbers = ShardedBatches(
            recipe.batch_size,
            self.state.step,
            recipe.max_steps,
            gradient_accumulation_steps=recipe.gradient_accumulation_steps,
            process_index=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        settings: dict[str, Any] = {
            "collate_fn": self.collate,
            "num_workers": self.num_workers,
            "pin_memory": accelerator.device.type == "cuda",
        }
        if self.shuffle_buffer is None:
            return iter(DataLoader(self.samples, batch_sampler=numbers, **settings))
        stream = StreamedSamples(
            self.samples,
            shuffle_buffer=self.shuffle_buffer,
            batch_size=numbers.part_size,
            process_index=accelerator.process_index,
            num_processes=accelerator.num_processes,
        )
        return stream.batches(first_batch=self.state.step * recipe.gradient_accumulation_steps, **settings)

    def run(self) -> LoopState:
        """Trains until the last step, the time limit or a signal; returns the state in which it stopped.

        Raises:
            TrainingDiverged: a loss or gradient is not finite.
        """
        recipe, accelerator = self.recipe, self.accelerator
        last_step = min(recipe.max_steps, recipe.stop_at_step or recipe.max_steps)
        started = time.monotonic()
        cpu_started = time.process_time()
        seconds_before, cpu_seconds_before = self.state.seconds, self.state.cpu_seconds
        batches = self._batches()
        bar = tqdm(
            total=recipe.max_steps,
            initial=self.state.step,
            disable=not accelerator.is_main_process,
            dynamic_ncols=True,
            mininterval=1 if sys.stderr.isatty() else 60,
            desc="training",
        )
        window_started, window_step = time.monotonic(), self.state.step
        stopped = False
        while self.state.step < last_step and not stopped:
            out_of_time = recipe.max_minutes is not None and time.monotonic() - started > 60 * recipe.max_minutes
            parts, gradient_norm, stopped = self._train_step(batches, stop=out_of_time or self.stop_requested)
            self.state.step += 1
            self.state.seconds = seconds_before + time.monotonic() - started
            self.state.cpu_seconds = cpu_seconds_before + time.process_time() - cpu_started
            step = self.state.step
            bar.update(1)

            if step % recipe.logging_steps == 0 or step in (1, last_step) or stopped:
                pictures_per_second = (
                    (step - window_step) * recipe.batch_size / max(1e-9, time.monotonic() - window_started)
                )
                rate = self.optimizer.param_groups[0]["lr"]
                self.log.write(
                    step,
                    {
                        **parts,
                        "learning_rate": rate,
                        "gradient_norm": gradient_norm,
                        "pictures_per_second": round(pictures_per_second, 2),
                        "seconds": round(self.state.seconds, 1),
                        "cpu_seconds": round(self.state.cpu_seconds, 1),
                        **self._memory(),
                    },
                )
                shown = {name.replace("_loss", ""): f"{value:.4f}" for name, value in parts.items()}
                bar.set_postfix({**shown, "lr": f"{rate:.2e}", "pic/s": f"{pictures_per_second:.1f}"}, refresh=False)
                window_started, window_step = time.monotonic(), step

            at_end = step == last_step or stopped
            if self.evaluation_splits and (step % recipe.evaluation_steps == 0 or step == recipe.max_steps):
                self._evaluate()
                window_started, window_step = time.monotonic(), step
            if step % recipe.checkpoint_steps == 0 or at_end:
                self._save_checkpoint()
        bar.close()
        self._save_model("last")
        if accelerator.is_main_process and not self.evaluation_splits and not (self.folder / "best").exists():
            self.say("No --evaluation_splits: there is only the last model, no best one.")
        accelerator.end_training()
        return self.state

    def _train_step(
        self, batches: Iterator[dict[str, torch.Tensor]], stop: bool
    ) -> tuple[dict[str, float], float, bool]:
        """Makes one optimiser step; returns the loss parts, the gradient's norm, and whether any process is to stop."""
        recipe, accelerator = self.recipe, self.accelerator
        step = self.state.step
        factor = learning_rate_factor(step, recipe.max_steps, recipe.warmup_steps)
        for group, peak_rate in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak_rate * factor
        # Whatever is random inside the model is a function of the step too, as a resumed run must repeat it.
        torch.manual_seed(recipe.seed * 1_000_003 + step * 1_009 + accelerator.process_index)

        self.model.train()
        sums: dict[str, torch.Tensor] = {}
        for _ in range(recipe.gradient_accumulation_steps):
            batch = send_to_device(next(batches), accelerator.device, non_blocking=True)
            with accelerator.accumulate(self.model):
                outputs = self.model(**batch)
                for name, part in loss_parts(outputs).items():
                    sums[name] = sums.get(name, torch.zeros_like(part)) + part / recipe.gradient_accumulation_steps
                accelerator.backward(outputs.loss)
                if accelerator.sync_gradients:
                    gradient_norm = float(accelerator.clip_grad_norm_(self.model.parameters(), recipe.max_grad_norm))
                    parts, stop = self._reduce(sums, stop)
                    self._check_finite(step + 1, parts, gradient_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
        return parts, gradient_norm, stop

    def _reduce(self, sums: dict[str, torch.Tensor], stop: bool) -> tuple[dict[str, float], bool]:
        """Averages the losses over the processes, and tells all of them if one is to stop."""
        values = torch.stack([*sums.values(), torch.tensor(float(stop), device=self.accelerator.device)])
        *means, stopping = self.accelerator.reduce(values, reduction="mean").tolist()
        return dict(zip(sums, means, strict=True)), stopping > 0

    def _check_finite(self, step: int, parts: dict[str, float], gradient_norm: float) -> None:
        # the parts before their sum, so that the message names the one that broke
        for name in sorted(parts, key=lambda name: name == "loss"):
            if not math.isfinite(parts[name]):
                raise TrainingDiverged(f"In step {step} {name} is {parts[name]}; the step was not taken.")
        # fp16 overflows now and then by design: the gradient scaler skips such a step
        if not math.isfinite(gradient_norm) and self.accelerator.mixed_precision != "fp16":
            raise TrainingDiverged(f"In step {step} the gradient norm is {gradient_norm}; the step was not taken.")

    def _memory(self) -> dict[str, float]:
        """Returns the most memory that this process has held so far, in GiB."""
        if self.accelerator.device.type == "cuda":
            return {"peak_gpu_gib": round(torch.cuda.max_memory_allocated(self.accelerator.device) / 2**30, 3)}
        try:
            import resource
        except ImportError:  # not on Windows
            return {}
        # counted in KiB by Linux, in bytes by macOS
        unit = 2**30 if sys.platform == "darwin" else 2**20
        return {"peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 3)}

    def _evaluate(self) -> None:
        recipe, accelerator = self.recipe, self.accelerator
        scores = []
        for name, split in self.evaluation_splits.items():
            evaluation = evaluate_segmentation(
                accelerator.unwrap_model(self.model),
                self.processor,
                split,
                accelerator,
                self._protocol(),
                num_pictures=recipe.num_evaluation_pictures,
                progress=partial(
                    tqdm,
                    desc=f"evaluating {name}",
                    leave=False,
                    dynamic_ncols=True,
                    mininterval=1 if sys.stderr.isatty() else 60,
                    disable=not accelerator.is_main_process,
                ),
            )
            self._log_predictions(name, split, evaluation.rows)
            result = evaluation.metric.compute(self.class_groups)
            scores.append(result.mean_iou or 0.0)
            numbers = {f"{name}/{key}": value for key, value in result.summary().items()}
            iou_by_class = {row.name: row.iou for row in result.classes if row.iou is not None}
            self.log.write(self.state.step, {**numbers, f"{name}/iou_by_class": iou_by_class})
            shown = ", ".join(f"{key} {100 * value:.2f}" for key, value in result.summary().items())
            self.say(f"step {self.state.step}, {name}: {shown}")
            if self.state.step == recipe.max_steps:
                self.say(format_class_table(result, self.class_groups))
        mean_iou = sum(scores) / len(scores)
        if self.state.best_mean_iou is None or mean_iou > self.state.best_mean_iou:
            self.state.best_mean_iou = mean_iou
            self._save_model("best")

    def _log_predictions(self, name: str, split: SegmentationSplit, rows: Sequence[int]) -> None:
        """Shows the trackers some pictures of a split beside prediction and truth: the same ones at each evaluation."""
        accelerator = self.accelerator
        if not accelerator.is_main_process or not accelerator.trackers or not self.recipe.num_logged_pictures:
            return
        model = accelerator.unwrap_model(self.model).eval()
        predictor = SegmentationPredictor(model, self.processor, split, self._protocol(), accelerator.device)
        pictures = []
        for place in spread_evenly(self.recipe.num_logged_pictures, len(rows)):
            ((picture, labels, prediction),) = predictor.predict([rows[place]])
            pictures.append(side_by_side(picture, prediction, labels, split.class_names))
        self.log.write_pictures(self.state.step, {f"{name}/prediction": pictures})

    def _protocol(self) -> EvaluationProtocol:
        # asked for the same names whatever the run's seed, so that runs can be compared
        return EvaluationProtocol(
            vocabulary=self.recipe.evaluation_vocabulary, batch_size=self.recipe.evaluation_batch_size
        )

    def _save_model(self, name: str) -> None:
        """Writes model and processor in the Hub's layout to the folder `name` of the run."""
        accelerator = self.accelerator
        state_dict = accelerator.get_state_dict(self.model)
        if accelerator.is_main_process:
            unfinished = self.folder / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            accelerator.unwrap_model(self.model).save_pretrained(unfinished, state_dict=state_dict)
            self.processor.save_pretrained(unfinished)
            replace_folder(unfinished, self.folder / name)
        accelerator.wait_for_everyone()

    def _save_checkpoint(self) -> None:
        """Writes everything that a resumed run needs; the folder gets its name when it is complete."""
        accelerator = self.accelerator
        parent = self.folder / CHECKPOINT_FOLDER
        unfinished = parent / "unfinished"
        if accelerator.is_main_process:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(unfinished))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (unfinished / "loop_state.json").write_text(json.dumps(dataclasses.asdict(self.state)), encoding="utf-8")
            replace_folder(unfinished, parent / f"step-{self.state.step}")
            for path in checkpoints_in(self.folder)[: -self.recipe.keep_checkpoints]:
                shutil.rmtree(path)
        accelerator.wait_for_everyone()

    def _load_checkpoint(self, path: Path) -> None:
        self.accelerator.load_state(str(path))
        # Accelerate counts batches; with another number of accumulation steps, its count would start amid a step.
        self.accelerator.step = 0
        self.state = LoopState(**json.loads((path / "loop_state.json").read_text(encoding="utf-8")))
        self.say(f"Resumed from {path} after step {self.state.step}.")


@contextmanager
def stopping_on_signals(run: TrainingRun) -> Iterator[None]:
    """Makes SIGTERM and SIGINT end the run after the current step, with a checkpoint."""

    def request_stop(number: int, frame: Any) -> None:
        run.stop_requested = True

    previous = {number: signal.signal(number, request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> LoopState:
    """Trains as the arguments say; see the module's docstring."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    disable_progress_bar()  # one bar for the run, none for each file that is written
    kinds = (ModelArguments, TrainingDataArguments, RecipeArguments)
    run = TrainingRun(*parse_arguments(kinds, arguments, description=__doc__))
    with stopping_on_signals(run):
        return run.run()


if __name__ == "__main__":
    run_script(main)
