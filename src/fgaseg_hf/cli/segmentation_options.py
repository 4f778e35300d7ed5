# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Options of the commands that segment pictures."""

import math
import warnings
from typing import Annotated

import typer

Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURE",
        help="Files, folders, patterns such as 'photos/*.jpg', http(s) addresses, or - for standard input.",
        show_default="an example picture that comes with the package",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS",
        help='What to look for, between commas or one a line: "red car, blue house, sky"; @FILE reads them from a '
        "file. Every pixel gets one of these.",
        show_default="those that were saved with the model; the example's",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME_OR_FOLDER",
        help="A name that `fgaseg models` lists, a folder, an id on the Hugging Face Hub, or a file of weights. A "
        "plain CLIP will do: it segments as it is, without any training.",
        show_default="the built-in model, which is at home in drawn scenes",
    ),
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SENTENCE",
        help="Sentence around each label, with {} in the label's place. Of several, the average counts.",
        show_default="the model's own",
    ),
]
SlidingWindow = Annotated[
    bool,
    typer.Option(
        "--sliding-window/--no-sliding-window",
        help="Look at overlapping parts of the picture as well as at the whole: finer, several times slower.",
    ),
]
Refine = Annotated[
    bool,
    typer.Option(
        "--refine/--no-refine",
        help="Bring the edges of what is found to the edges of the picture: worth trying with large, clear-cut things.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="PICTURES", help="Pictures computed at once.", show_default="1 on a processor, 8 elsewhere"
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the model: the first pictures take a minute more, the others less.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="PROBABILITY",
        help="Leave pixels unlabelled whose best label is less likely than this.",
        show_default="0.5 for the built-in model, for others none: every pixel gets a label, as with 0",
    ),
]
Background = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What to call pixels whose best label is less likely than --threshold, or than 0.5 without it. 'auto' "
        "calls them 'none of these', and also those where a common name that was not asked for is likelier.",
        show_default="no such label",
    ),
]
Group = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=WORDS",
        help='Look for several labels and answer with one: "vehicle=car, bus, truck". May be given several times.',
        show_default="no groups",
    ),
]
Synonym = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL=WORDS",
        help='Look for a label by further words: "sofa=couch, settee". May be given several times.',
        show_default="no synonyms",
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Examine only the K most likely labels of each picture: faster with many labels.",
        show_default="the model's own",
    ),
]
MaxMegapixels = Annotated[
    float | None,
    typer.Option(
        "--max-megapixels",
        min=0.01,
        metavar="MILLIONS",
        help="Refuse pictures of more pixels before they are decoded. One of 177 million takes about 2 GB.",
        show_default="89",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE", help="Where to compute, such as cpu or cuda:0.", show_default="a GPU if there is one"
    ),
]
DType = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE", help="Float type to compute in: float32, float16 or bfloat16.", show_default="float32"
    ),
]


def limit_pixels(max_megapixels: float | None) -> None:
    """Applies `MaxMegapixels` to whatever this process decodes.

    Raises:
        ValueError: It is no number.
    """
    from PIL import Image

    # What is beyond the limit is refused in a sentence of our own.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    if max_megapixels is None:
        return
    refuse_what_is_no_number("--max-megapixels", max_megapixels)
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)


def refuse_what_is_no_number(option: str, value: float) -> None:
    """Refuses `inf` and `nan`, which are floats to a command line.

    Raises:
        ValueError: It is one of these.
    """
    if not math.isfinite(value):
        raise ValueError(f"{option} is {value}: give a number.")
