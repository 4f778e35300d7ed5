# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What `fgaseg evaluate` can be told besides the data set: the model, the protocol, and where results go."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..data.dataset_loading import DatasetArguments
from ..model.prompt_tokenizer import DEFAULT_PROMPT_TEMPLATE
from .segmentation_evaluation import EvaluationProtocol

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
    published: bool = field(
        default=False,
        metadata={
            "help": "measure by the published protocol, and print ours beside the published numbers; with `--benchmark "
            "all`, on the six benchmarks that papers report"
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
    output: str | None = field(
        default=None, metadata={"help": "JSON file for the result; of several benchmarks, a folder for a file of each"}
    )
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
        if self.published:
            if self.protocol not in (None, "published"):
                raise ValueError(f"--published means the published protocol, not {self.protocol!r}: leave one out.")
            self.protocol = "published"
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

    def is_for_several(self, dataset: DatasetArguments) -> bool:
        """Returns whether several benchmarks are measured one after the other."""
        return dataset.benchmark is not None and (dataset.benchmark == "all" or "," in dataset.benchmark)

    def to_protocol(self) -> EvaluationProtocol:
        """Returns how pictures are to be shown and what is to be asked for."""
        return EvaluationProtocol(
            vocabulary=self.vocabulary,
            view="sliding_window" if self.sliding_window else "whole",
            window_size=self.window_size,
            resized_size=self.resized_size,
            batch_size=self.batch_size,
            seed=self.seed,
        )

    def config_overrides(self) -> dict[str, Any]:
        """Returns the fields of the model's config that the arguments change."""
        overrides = {name: getattr(self, name) for name in ("num_kept_classes", "class_pooling_size")}
        return {name: value for name, value in overrides.items() if value is not None}
