# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How pictures are segmented, for all calls of a segmenter or for one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class SegmenterOptions:
    """How pictures are segmented; each may be given to [`Segmenter`], and otherwise for a single call.

    Attributes:
        templates: Sentences around each word, with `{}` in its place, whose embeddings are averaged; the model's own
            if not given.
        synonyms: Further words for some of the words: `{"sofa": ["couch", "settee"]}`.
        groups: Words that are answered as one: `{"vehicle": ["car", "bus"]}`; they need not stand among the words.
        background: What to call pixels that no word is likely enough for; no such answer if not given. "auto": common
            names that nobody asked for stand beside the words, and are answered as "none of these".
        threshold: Pixels whose best word has a lower probability get none (-1 in the label map), or the background. If
            not given, 0.5 with a background, and else the checkpoint's `default_threshold`: the built-in model has 0.5,
            CAT-Seg's and CLIP's have none, so that every pixel gets a word, as it does with 0.
        sliding_window: Whether to look at overlapping parts of a picture as well as at the whole: finer, and several
            times slower.
        refine: Whether to bring the edges of what is found to the edges of the picture, see [`refine_edges`].
        batch_size: Pictures that are computed at once; one on a processor and 8 elsewhere, if not given.
    """

    templates: Sequence[str] | None = None
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    background: str | None = None
    threshold: float | None = None
    sliding_window: bool = False
    refine: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.templates, str):
            object.__setattr__(self, "templates", [self.templates])
        threshold = self.threshold
        if threshold is not None and (isinstance(threshold, str) or not 0 <= threshold <= 1):
            raise ValueError(f"`threshold` is {threshold!r}: give a probability from 0 to 1, or None.")
        if self.background is not None and threshold in (0, 1):
            raise ValueError(f"`threshold` is {threshold:g}: with a background, give a probability between 0 and 1.")
        if self.batch_size is not None and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise ValueError(f"`batch_size` is {self.batch_size!r}: give 1 or more, or None.")

    def changed(self, overrides: Mapping[str, Any]) -> "SegmenterOptions":
        """The options of one call.

        Raises:
            TypeError: There is no such option.
            ValueError: An option is out of range.
        """
        known = [entry.name for entry in fields(self)]
        for name in overrides:
            if name not in known:
                raise TypeError(f"There is no option {name!r} of a call: choose among {', '.join(known)}.")
        return replace(self, **overrides) if overrides else self


__all__ = ["SegmenterOptions"]
