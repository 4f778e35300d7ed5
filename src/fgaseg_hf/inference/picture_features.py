# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The last few pictures as the model sees them, so that new words on the same picture cost the decoder alone."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from PIL import Image

# Of a large picture so many are hashed at once.
PIXELS_AT_ONCE = 2**20


class PictureFeatures:
    """Keeps what does not depend on words, by the picture's pixels. May be used by several threads at once.

    Args:
        max_pictures: How many pictures to keep; 0 for none.
    """

    def __init__(self, max_pictures: int = 4) -> None:
        self.max_pictures = max_pictures
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, picture: Image.Image, view: str, compute: Callable[[], Any]) -> Any:
        """Gives a picture's features: those that are kept, or else computed and kept.

        Args:
            picture: The picture.
            view: How it is looked at, up to 16 letters; what is computed of it in one way is not taken for another's.
            compute: Computes the features.
        """
        if not self.max_pictures:
            return compute()
        key = _hash_of(picture, view)
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


def _hash_of(picture: Image.Image, view: str) -> bytes:
    """Hashes size, view and pixels, a band at a time: the bytes of a large picture would be its memory once more."""
    digest = hashlib.blake2b(person=b"%d" % picture.width, salt=view.encode(), digest_size=16)
    band_height = max(PIXELS_AT_ONCE // picture.width, 1)
    for top in range(0, picture.height, band_height):
        digest.update(picture.crop((0, top, picture.width, min(top + band_height, picture.height))).tobytes())
    return digest.digest()


__all__ = ["PictureFeatures"]
