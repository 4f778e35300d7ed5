# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The last few pictures as the model sees them, so that new words on the same picture cost the decoder alone."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from PIL import Image


class PictureFeatures:
    """Keeps what does not depend on words, by the picture's pixels. May be used by several threads at once.

    Args:
        max_pictures: How many pictures to keep; 0 for none.
    """

    def __init__(self, max_pictures: int = 4) -> None:
        self.max_pictures = max_pictures
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, picture: Image.Image, compute: Callable[[], Any]) -> Any:
        """Gives a picture's features: those that are kept, or else computed and kept."""
        if not self.max_pictures:
            return compute()
        key = hashlib.blake2b(picture.tobytes(), person=b"%d" % picture.width, digest_size=16).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        features = compute()
        with self._lock:
            self._kept[key] = features
            self._kept.move_to_end(key)
            while len(self._kept) > self.max_pictures:
                self._kept.popitem(last=False)
        return features


__all__ = ["PictureFeatures"]
