# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg segment`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import segmentation_options as options
from .refusals import EXIT_CODE_INTERRUPTED, EXIT_CODE_SOME_FAILED

if TYPE_CHECKING:
    from ..inference.folder_job import FolderJob, PictureOutcome
    from ..inference.picture_search import FoundPicture

BUILT_IN_MODEL_KNOWS = (
    "Built-in model: it is at home in drawn scenes and takes everyday words for what they show, one or many (car, red "
    "car, cottage, vehicle); of photographs it finds only what is large, so load another for them with --model."
)
NO_LABELS = 'There are no labels: give them as --labels "red car, blue house, sky".'


def segment(
    pictures: options.Pictures = None,
    labels: options.Labels = None,
    model: options.Model = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where NAME_overlay.png, NAME_labels.png and the like go.")
    ] = Path("fgaseg_output"),
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
    max_megapixels: options.MaxMegapixels = None,
    batch_size: options.BatchSize = None,
    compile: options.Compile = False,
    formats: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="What to write beside the overlay: labels (ids with a palette, and their meaning), numpy, coco, "
            "coco-panoptic, geojson, label-studio, cvat, pascal-voc, cityscapes; several between commas.",
        ),
    ] = "labels",
    overlay: Annotated[
        Literal["png", "jpg", "none"], typer.Option(help="The picture with colours and a legend: how to write it.")
    ] = "png",
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Look into folders within folders; results lie in folders alike.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave pictures alone that an earlier run with the same settings has done."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files in --output that fgaseg did not write.")
    ] = False,
    window: Annotated[
        int,
        typer.Option(
            min=64,
            metavar="PIXELS",
            help="GeoTIFF: side of the parts that are read and segmented one by one; smaller ones are looked at more "
            "closely.",
        ),
    ] = 1024,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a picture.")] = False,
) -> None:
    """Segment pictures with your own words.

    Writes an overlay with a legend, a label map and the meaning of its ids for each picture.
    Of a GeoTIFF the label map and the overlay are GeoTIFF files with the same coordinates (extra "geo").
    Prints where the overlay lies and the share of each label. A picture that cannot be read is reported and left out:
    then the exit code is 1, and failed.json in the output folder says why.
    """
    # Everything that can be wrong is found out before the first picture is segmented; the cheap checks go first.
    from ..inference.output_formats import check_formats
    from ..inference.picture_search import find_pictures
    from ..inference.word_lists import parse_groups, read_words

    options.limit_pixels(max_megapixels)
    kinds = check_formats(formats_to_write(formats, overlay))
    groups, synonyms = parse_groups(group or []), parse_groups(synonym or [], "--synonym")
    words = None if labels is None else read_words(labels)
    if labels is None and not groups and model is None:
        if pictures:
            raise ValueError(NO_LABELS)
        words = example_labels()
    search = find_pictures(pictures or [str(example_picture())], recursive)

    from ..conversion.named_models import DEFAULT_MODEL
    from ..inference.folder_job import FolderJob
    from ..inference.georeferenced import describe_lost_coordinates
    from ..inference.segmenter import Segmenter

    segmenter = Segmenter(
        DEFAULT_MODEL if model is None else model,
        num_kept_classes=topk,
        device=device,
        dtype=dtype,
        templates=template,
        synonyms=synonyms,
        groups=groups,
        background=background,
        threshold=threshold,
        sliding_window=sliding_window,
        refine=refine,
        batch_size=batch_size,
        compile=compile,
    )
    if words is None and not groups and segmenter.vocabulary is None:
        raise ValueError(NO_LABELS)
    job = FolderJob(segmenter, words, output, kinds, resume, overwrite, window)
    if left_out := search.describe_left_out():
        typer.echo(f"fgaseg: {left_out}", err=True)
    if lost := describe_lost_coordinates(picture.path for picture in search.pictures):
        typer.echo(f"fgaseg: {lost}", err=True)
    # Where programs read standard output, it is for what is found in the pictures.
    if model is None:
        typer.echo(BUILT_IN_MODEL_KNOWS, err=as_json)
    elif segmenter.is_plain_clip:
        typer.echo(f"{model} is a plain CLIP: it segments as it is, without training, and coarsely.", err=as_json)
    run_job(job, search.pictures, as_json)


def formats_to_write(formats: str, overlay: str) -> list[str]:
    """Puts --formats and --overlay together.

    Raises:
        ValueError: There is nothing to write.
    """
    overlays = {"png": ["overlay"], "jpg": ["overlay-jpg"], "none": []}[overlay]
    kinds = overlays + [name.strip() for name in formats.split(",") if name.strip() not in ("", "none")]
    if not kinds:
        raise ValueError("There is nothing to write: name --formats, or leave --overlay at png.")
    return kinds


def run_job(job: "FolderJob", pictures: "list[FoundPicture]", as_json: bool) -> None:
    """Runs a job to its end, a line a picture, and ends the command with the exit code that fits.

    Raises:
        typer.Exit: Some pictures failed, or the user stopped it.
    """
    from tqdm import tqdm

    outcomes = tqdm(
        job.run(pictures), desc="Segmenting", unit="picture", total=len(pictures), disable=len(pictures) == 1
    )
    try:
        print_outcomes(outcomes, as_json)
    except KeyboardInterrupt:
        typer.echo("fgaseg: stopped; the same command with --resume goes on from here.", err=True)
        raise typer.Exit(EXIT_CODE_INTERRUPTED) from None
    if job.num_done_before:
        typer.echo(f"{job.num_done_before} pictures were done before.", err=as_json)
    if job.failed:
        where = job.output / "failed.json"
        typer.echo(f"fgaseg: {len(job.failed)} of {len(pictures)} pictures failed; {where} says why.", err=True)
        raise typer.Exit(EXIT_CODE_SOME_FAILED)


def print_outcomes(outcomes: "Iterable[PictureOutcome]", as_json: bool) -> None:
    """Prints a line a picture, what failed on standard error, above the progress bar where there is one."""
    from tqdm import tqdm

    for outcome in outcomes:
        with tqdm.external_write_mode():
            if outcome.reason is not None:
                typer.echo(f"fgaseg: {outcome.picture.source}: {outcome.reason}", err=True)
            if as_json:
                typer.echo(json.dumps(outcome.to_dict(), ensure_ascii=False))
            elif outcome.result is not None:
                typer.echo(f"{outcome.files[0]}: {outcome.result.describe()}")
        # The next one may be as large, and is waited for here.
        del outcome


def example_picture() -> Path:
    """Finds the example picture that comes with the built-in model.

    Raises:
        ValueError: It was not installed.
    """
    from ..conversion.named_models import builtin_model_folder

    path = builtin_model_folder() / "example.png"
    if not path.is_file():
        raise ValueError("This installation has no example picture: name a picture to segment.")
    return path


def example_labels() -> list[str]:
    """Reads the words that suit the example picture.

    Raises:
        ValueError: They were not installed.
    """
    from ..conversion.named_models import builtin_model_folder

    path = builtin_model_folder() / "example.json"
    if not path.is_file():
        raise ValueError('This installation has no example: name a picture and --labels "red car, blue house, sky".')
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return list(content["labels"])


__all__ = ["segment"]
