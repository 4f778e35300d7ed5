# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models that a page lets people choose from; the last few stay in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ..inference.segmenter import Segmenter


class ModelShelf:
    """Gives segmenters by name, loading each when it is first asked for. May be used by several threads at once.

    Args:
        names: What may be asked for; the first is what a page begins with.
        load: Makes a segmenter of a name.
        max_models: How many to keep in memory.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], Segmenter], max_models: int = 2) -> None:
        self.names = list(dict.fromkeys(names))
        self._load = load
        self._max_models = max_models
        self._loaded: OrderedDict[str, Segmenter] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Segmenter:
        """Gives a model.

        Raises:
            ValueError: It is none of the names, or cannot be loaded.
        """
        if name not in self.names:
            raise ValueError(f"There is no model {name[:60]!r} here: choose among {', '.join(self.names)}.")
        # Whoever asks for a model that is being loaded waits for it; nothing is loaded twice.
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            self._loaded.move_to_end(name)
            while len(self._loaded) > self._max_models:
                self._loaded.popitem(last=False)
            return self._loaded[name]


__all__ = ["ModelShelf"]
