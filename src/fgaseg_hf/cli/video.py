# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg video`."""

from pathlib import Path
from typing import Annotated

import typer

from . import segmentation_options as options


def video(
    source: Annotated[str, typer.Argument(metavar="VIDEO", help="A file that FFmpeg reads.")],
    labels: options.Labels = None,
    model: options.Model = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The video to write.")] = Path("segmented.mp4"),
    every: Annotated[int, typer.Option(min=1, help="Segment every so many frames.")] = 1,
    track: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the labels too: JSON lines with run-length masks.", show_default="overlay alone"
        ),
    ] = None,
    template: options.Template = None,
    sliding_window: options.SlidingWindow = False,
    refine: options.Refine = False,
    threshold: options.Threshold = None,
    background: options.Background = None,
    group: options.Group = None,
    synonym: options.Synonym = None,
    topk: options.TopK = None,
    device: options.Device = None,
    dtype: options.DType = None,
    batch_size: options.BatchSize = None,
    compile: options.Compile = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Segment a video with your own words: the same colours in every frame. Needs the extra "video"."""
    from ..inference.word_lists import parse_groups, read_words

    words = None if labels is None else read_words(labels)
    groups, synonyms = parse_groups(group or []), parse_groups(synonym or [], "--synonym")
    for path in filter(None, (output, track)):
        if path.exists() and not overwrite:
            raise ValueError(f"The file {str(path)!r} is there already: name another, or give --overwrite.")
    if not Path(source).is_file():
        raise ValueError(f"There is no video {source!r}: name a file.")

    from tqdm import tqdm

    from ..conversion.named_models import DEFAULT_MODEL
    from ..inference.segmenter import Segmenter
    from ..inference.video import segment_video

    segmenter = Segmenter(
        model or DEFAULT_MODEL,
        num_kept_classes=topk,
        device=device,
        dtype=dtype,
        compile=compile,
        templates=template,
        synonyms=synonyms,
        groups=groups,
        background=background,
        threshold=threshold,
        sliding_window=sliding_window,
        refine=refine,
        batch_size=batch_size,
    )
    segmenter.encode(words)
    output.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(desc="Segmenting", unit="frame")
    count = 0
    try:
        for frame in segment_video(segmenter, source, words, output, every=every, track=track):
            bar.total = frame.num_frames or None
            bar.update()
            count = frame.number + 1
    except ImportError as error:
        raise ValueError(str(error)) from error
    finally:
        bar.close()
    typer.echo(f"{output}: {count} frames")


__all__ = ["video"]
