# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Videos: every frame under the words' colours, which stay the same from frame to frame, with one legend below."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from .coco_export import encode_mask
from .output_marks import MARK
from .segmentation import Segmentation
from .segmenter import Segmenter
from .visualization import class_palette, draw_with_legend
from .word_encoding import Words

# Frames that are read ahead and computed together on an accelerator.
FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class VideoFrame:
    """A frame that was written.

    Attributes:
        number: Counted from 0.
        result: Its segmentation, or that of the last frame that was segmented.
        num_frames: How many frames the video says it has; 0 if it does not say.
    """

    number: int
    result: Segmentation
    num_frames: int


def segment_video(
    segmenter: Segmenter,
    source: str | os.PathLike[str],
    words: Words | None,
    target: str | os.PathLike[str],
    *,
    every: int = 1,
    track: str | os.PathLike[str] | None = None,
    alpha: float = 0.5,
) -> Iterator[VideoFrame]:
    """Segments a video frame by frame and writes another with the overlay; the sound is left out.

    Args:
        segmenter: What segments.
        source: The video, of any kind that FFmpeg reads.
        words: What to look for.
        target: The video to write, such as "street.mp4".
        every: Segment every so many frames, and show the last answer on those between.
        track: Where to write the labels, if anywhere: a line of JSON for each frame that was segmented, with COCO's
            run-length masks.
        alpha: Opacity of the colours.

    Yields:
        Each frame once it is written.

    Raises:
        ImportError: The package av is not installed.
        ValueError: The video cannot be read, or has no pictures.
    """
    if every < 1:
        raise ValueError(f"`every` is {every}: give 1 or more.")
    try:
        import av
    except ImportError as error:
        raise ImportError("Videos need the extra video: pip install 'fgaseg_hf[video]'.") from error
    try:
        with av.open(os.fspath(source)) as opened:
            if not opened.streams.video:
                raise ValueError(f"The file {os.fspath(source)!r} holds no pictures: name a video.")
            yield from _copy_with_overlay(av, opened, segmenter, words, Path(target), every, track, alpha)
    except av.error.FFmpegError as error:
        raise ValueError(f"The video {os.fspath(source)!r} cannot be read or written ({error.strerror}).") from error


def _copy_with_overlay(
    av: Any,
    opened: Any,
    segmenter: Segmenter,
    words: Words | None,
    target: Path,
    every: int,
    track: str | os.PathLike[str] | None,
    alpha: float,
) -> Iterator[VideoFrame]:
    stream = opened.streams.video[0]
    stream.thread_type = "AUTO"
    # Under another name until it is whole; the ending says which kind of file it is.
    aside = target.with_name(f".{target.stem}.partial{target.suffix}")
    try:
        with _opened(track) as labels, av.open(str(aside), "w", options={}) as written:
            written.metadata["comment"] = MARK
            output = written.add_stream(_encoder(av, target), rate=stream.average_rate or 25)
            output.pix_fmt = "yuv420p"
            output.options = {"crf": "20"} if output.codec_context.name == "libx264" else {"q:v": "3"}
            for number, picture, result in _segmented(opened.decode(stream), segmenter, words, every):
                drawn = _draw(picture, result, alpha)
                if number == 0:
                    output.width, output.height = drawn.size
                for packet in output.encode(av.VideoFrame.from_image(drawn)):
                    written.mux(packet)
                if labels is not None and number % every == 0:
                    _write_labels(labels, number, result)
                yield VideoFrame(number, result, stream.frames)
            for packet in output.encode():
                written.mux(packet)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _opened(track: str | os.PathLike[str] | None) -> AbstractContextManager[TextIO | None]:
    return nullcontext() if track is None else Path(track).open("w", encoding="utf-8")


def _encoder(av: Any, target: Path) -> str:
    if target.suffix.lower() == ".webm":
        return "libvpx-vp9"
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


def _segmented(
    frames: Iterator[Any], segmenter: Segmenter, words: Words | None, every: int
) -> Iterator[tuple[int, Image.Image, Segmentation]]:
    """Segments every so many frames, some at once, and gives each frame the last answer."""
    pictures = (frame.to_image() for frame in frames)
    number = 0
    while batch := list(islice(pictures, FRAMES_AT_ONCE * every)):
        results = segmenter(batch[::every], words)
        result: Segmentation | None = None
        for place, picture in enumerate(batch):
            if place % every == 0:
                result = next(results)
            assert result is not None  # the first of a batch is segmented
            yield number, picture, result
            number += 1


def _draw(picture: Image.Image, result: Segmentation, alpha: float) -> Image.Image:
    """The frame under colours, with a legend of all words, so that every frame is of one size; sides are even."""
    palette = class_palette(len(result.class_names))
    entries: Sequence[Any] = [
        (name, tuple(int(part) for part in colour)) for name, colour in zip(result.class_names, palette, strict=True)
    ]
    canvas = draw_with_legend(picture, result.label_map, palette, entries, alpha)
    even = Image.new("RGB", (canvas.width + canvas.width % 2, canvas.height + canvas.height % 2), (255, 255, 255))
    even.paste(canvas, (0, 0))
    return even


def _write_labels(file: TextIO, number: int, result: Segmentation) -> None:
    masks = {word.name: encode_mask(word.mask) for word in result}
    file.write(json.dumps({"frame": number, "generator": MARK, "masks": masks}, ensure_ascii=False) + "\n")


__all__ = ["VideoFrame", "segment_video"]
