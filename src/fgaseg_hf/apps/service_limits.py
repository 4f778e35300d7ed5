# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a service takes from strangers, and how it says no."""

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError


class Refusal(Exception):
    """A request that is not answered, with the HTTP status and one sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after


@dataclass(frozen=True)
class ServiceLimits:
    """What one request, and all that wait, may cost.

    Attributes:
        max_bytes: Size of a request's body.
        max_pixels: Pixels of its picture, looked up before it is decoded.
        max_words: Words it may ask for.
        max_waiting: Requests that wait for the model; a further one is told to come back.
        timeout: Seconds until a request that still waits is given up.
        batch_size: Requests of one vocabulary that are computed together.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 25_000_000
    max_words: int = 200
    max_waiting: int = 32
    timeout: float = 60.0
    batch_size: int = 4

    def check_picture(self, content: bytes) -> None:
        """Looks at a picture's header.

        Raises:
            Refusal: It is no picture (422), or has too many pixels (413).
        """
        try:
            with Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
        except Image.DecompressionBombError as error:
            raise self._too_large() from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise Refusal(422, "The picture cannot be read: send the bytes of a PNG, JPEG or WebP file.") from error
        if width * height > self.max_pixels:
            raise self._too_large()

    def check_words(self, words: list[str] | None) -> None:
        """Counts the words.

        Raises:
            Refusal: There are too many (422).
        """
        if words is not None and len(words) > self.max_words:
            raise Refusal(422, f"{len(words)} words were asked for: ask for at most {self.max_words}.")

    def _too_large(self) -> Refusal:
        megapixels = self.max_pixels / 1e6
        return Refusal(413, f"The picture has too many pixels: send one of at most {megapixels:g} megapixels.")


__all__ = ["Refusal", "ServiceLimits"]
