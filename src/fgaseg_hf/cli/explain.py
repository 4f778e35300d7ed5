# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg explain`."""

from pathlib import Path
from typing import Annotated

import typer

from . import segmentation_options as options


def explain(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A file or an http(s) address.")],
    labels: options.Labels = None,
    model: options.Model = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The figure, a PNG or JPEG file.")] = Path(
        "explained.png"
    ),
    template: options.Template = None,
    topk: options.TopK = None,
    device: options.Device = None,
    max_megapixels: options.MaxMegapixels = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that fgaseg did not write.")] = False,
) -> None:
    """Show how the model came to its answer: for each word the maps of the method's steps, as one figure.

    Word by word: how alike words and patches are before and after alignment (global pseudo-mask), words and
    neighbourhoods (local pseudo-mask), the auxiliary heads' maps, and the final score; and which words TopK kept.
    """
    from ..inference.output_marks import png_mark, refuse_others_files
    from ..inference.word_lists import read_words

    options.limit_pixels(max_megapixels)
    words = None if labels is None else read_words(labels)
    if output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"The figure would be saved as {output.name!r}: give a name that ends in .png or .jpg.")
    refuse_others_files([output], overwrite)

    from ..conversion.named_models import DEFAULT_MODEL
    from ..inference.segmenter import Segmenter

    segmenter = Segmenter(model or DEFAULT_MODEL, num_kept_classes=topk, device=device, templates=template)
    explanation = segmenter.explain(picture, words)
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix.lower() == ".png":
        explanation.figure().save(output, pnginfo=png_mark())
    else:
        explanation.figure().save(output, quality=90, comment=b"fgaseg_hf")
    typer.echo(f"{output}: {explanation.result.describe()}")


__all__ = ["explain"]
