# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What `fgaseg train` takes: what is trained, on what, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from accelerate.tracking import get_available_trackers

from ..data.dataset_loading import DatasetArguments
from ..evaluation.command_line_arguments import parse_arguments

# Configurations that come with the package, to be called by their names.
CONFIG_FOLDER = Path(str(files(__package__))) / "configs"


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
    skip_unreadable: int = field(
        default=0, metadata={"help": "rows that cannot be read may be left out, up to so many in each process"}
    )
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
    compile: bool = field(default=False, metadata={"help": "train through torch.compile: minutes once, faster steps"})
    timeout_minutes: float = field(
        default=60.0, metadata={"help": "processes wait this long for a lost one; for one that fetches, a day"}
    )
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

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(str(self.output_dir))


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


def parse_training_arguments(
    arguments: Sequence[str] | None = None, description: str | None = None
) -> tuple[ModelArguments, TrainingDataArguments, RecipeArguments]:
    """Reads the command line and its configurations, which may be named as those of the package.

    Args:
        arguments: the command line's words; None takes those of the process.
        description: for `--help`.

    Raises:
        ValueError: a configuration does not exist or sets what is no argument, or a value is out of its range.
    """
    kinds = (ModelArguments, TrainingDataArguments, RecipeArguments)
    return parse_arguments(kinds, arguments, description=description, config_folder=CONFIG_FOLDER)
