# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What neither a checkpoint nor its results can tell, for its model card."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

DEFAULT_SUMMARY = (
    "Open-vocabulary semantic segmentation: give a picture and words of your own, and get one of the words for every "
    "pixel."
)


@dataclass(frozen=True, kw_only=True)
class CardDescription:
    """What neither the checkpoint nor its results can tell.

    Attributes:
        name: The model's name, or its id on the Hub.
        license: Its licence, as the Hub abbreviates it: `apache-2.0`.
        summary: What it is, in a few sentences of Markdown.
        language: The language of its words.
        base_model: Ids of the models that it starts from.
        datasets: Ids on the Hub of the data sets that it was trained on.
        tags: Tags beside the usual ones.
        training: How it was trained, in Markdown.
        training_command: The command that trained it.
        use: Python code in the place of the usual example.
        limits: What it cannot do, beside what follows from its settings; a sentence of Markdown each.
        bias: What is known of its bias, in Markdown.
        measured_data: Of data sets that were measured on, by the name that `evaluate.py` was given: `name`, what people
            call it, and `id`, its id on the Hub or one like it.
    """

    name: str
    license: str
    summary: str = DEFAULT_SUMMARY
    language: str = "en"
    base_model: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    training: str | None = None
    training_command: str | None = None
    use: str | None = None
    limits: list[str] = field(default_factory=list)
    bias: str | None = None
    measured_data: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path | None, **overrides: Any) -> "CardDescription":
        """Reads a description from a YAML file.

        Args:
            path: The file; `None` for none.
            **overrides: Attributes that win over the file's. `None` and empty lists do not count.

        Raises:
            ValueError: There is no such file, it is no mapping of the attributes above, or name or licence are missing.
        """
        values: dict[str, Any] = {}
        if path is not None:
            try:
                values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
                reason = " ".join(str(error).split())
                raise ValueError(
                    f"The description {str(path)!r} cannot be read ({reason}): give a YAML file."
                ) from error
        fields = {described.name: described for described in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not set(values) <= set(fields):
            raise ValueError(f"The description {str(path)!r} must be a mapping of any of {', '.join(fields)}.")
        values |= {name: value for name, value in overrides.items() if value not in (None, [], ())}
        for name, value in values.items():
            wanted: Any = str
            if name in ("base_model", "datasets", "tags", "limits"):
                value = values[name] = [value] if isinstance(value, str) else value
                wanted = list
            elif name == "measured_data":
                wanted = dict
            if not isinstance(value, wanted):
                raise ValueError(f"The description's {name!r} is {value!r}, but must be a {wanted.__name__}.")
        for data_set, known in values.get("measured_data", {}).items():
            if not isinstance(known, dict) or set(known) != {"name", "id"}:
                raise ValueError(f"The description's 'measured_data' of {data_set!r} must have a name and an id.")
        if not values.get("license"):
            raise ValueError("The model has no licence: give one as --license apache-2.0, or in the description.")
        if not values.get("name"):
            raise ValueError("The model has no name: give one with --name, or in the description.")
        return cls(**values)


__all__ = ["CardDescription"]
