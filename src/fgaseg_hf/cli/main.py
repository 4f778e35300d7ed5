# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The `fgaseg` command: one subcommand a task, each a function of this module."""

import glob
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from tqdm import tqdm

from .. import __version__
from ..conversion.clip_checkpoints import load_training_free, save_clip
from ..conversion.model_loading import broken_checkpoints_named, load_checkpoint, quiet_transformers
from ..conversion.named_models import DEFAULT_MODEL, builtin_model_folder
from ..inference.devices import choose_device
from ..inference.overlapped_work import overlap_reading_and_writing
from ..inference.picture_sources import read_picture
from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter, SegmenterOptions
from ..inference.word_lists import parse_groups, read_words
from ..model.clip_dense_features import DenseAttention, DenseResidual
from ..model.picture_reading import open_picture
from ..model.prompt_tokenizer import check_class_names
from ..release.checkpoint_files import check_architecture
from .checkpoint_commands import convert
from .door_commands import page, serve
from .export_commands import export
from .preparation_commands import prepare
from .release_commands import card, inspect, release
from .training_commands import add_training_commands

# Typer's and Click's own code for a command that was called wrongly.
EXIT_CODE_BAD_INPUT = 2

BUILT_IN_MODEL_KNOWS = (
    "Built-in model: it knows drawn scenes only (sky, ground, water, roads, and things such as houses, trees, cars and "
    "boats in many colours and patterns); for photographs load another with --model."
)

app = typer.Typer(
    name="fgaseg",
    help="Open-vocabulary segmentation: name what you look for, get a label for every pixel.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help pages: the boxes of the other modes leave half a line for the text.
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
)


def main() -> None:
    """Runs the command line (the entry point of the `fgaseg` script and of `python -m fgaseg_hf`)."""
    app(prog_name="fgaseg")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fgaseg_hf {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Open-vocabulary segmentation: name what you look for, get a label for every pixel."""


@contextmanager
def bad_input_to_exit_code() -> Iterator[None]:
    """Turns the errors of bad input into one sentence on stderr and exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"fgaseg: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_CODE_BAD_INPUT) from error


@app.command(epilog='Example: fgaseg segment street.jpg --labels "red car, blue house, sky"')
def segment(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE",
            help="Files, folders, or patterns such as 'photos/*.jpg'.",
            show_default="an example picture that comes with the package",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help='What to look for, separated by commas: "red car, blue house, sky". Every pixel gets one of these.',
            show_default="the example picture's words, if no picture is named",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID_OR_FOLDER",
            help="A FGASeg checkpoint: a folder or an id on the Hugging Face Hub. A plain CLIP checkpoint will do: it "
            "segments as it is, without any training.",
            show_default="the built-in model, which knows drawn scenes",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Where NAME_overlay.png (picture, colours, legend), NAME_labels.png (class ids, with a palette) and "
            "NAME_labels.json (what the ids mean) go.",
        ),
    ] = Path("fgaseg_output"),
    template: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SENTENCE",
            help="Sentence around each label, with {} in the label's place. Of several, the average counts.",
            show_default="the model's own",
        ),
    ] = None,
    sliding_window: Annotated[
        bool,
        typer.Option(
            "--sliding-window/--no-sliding-window",
            help="Look at overlapping parts of the picture as well as at the whole: finer, several times slower.",
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="PROBABILITY",
            help="Leave pixels unlabelled whose best label is less likely than this.",
            show_default="every pixel gets a label",
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to call pixels whose best label is less likely than --threshold, or than 0.5 without it.",
            show_default="no such label",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WORDS",
            help='Look for several labels and answer with one: "vehicle=car, bus, truck". May be given several times.',
            show_default="no groups",
        ),
    ] = None,
    topk: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Examine only the K most likely labels of each picture: faster with many labels.",
            show_default="the model's own",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="Where to compute, such as cpu or cuda:0.", show_default="a GPU if there is one"
        ),
    ] = None,
) -> None:
    """Segment pictures with your own words.

    Writes an overlay with a legend, a label map and the meaning of its ids for each picture.
    Prints where the overlay lies and the share of each label.
    """
    with bad_input_to_exit_code():
        # Everything that can be wrong is found out before the first picture is segmented; the cheap checks go first.
        groups = parse_groups(group or [])
        words = None
        if labels is not None:
            words = read_words(labels)
        elif not pictures and not groups:
            words = example_labels()
        elif not groups and model is None:
            raise ValueError('There are no labels: give them as --labels "red car, blue house, sky".')
        options = SegmenterOptions(template, {}, groups, background, threshold, sliding_window)
        paths = find_pictures(pictures, output) if pictures else [example_picture()]
        torch_device = choose_device(device)
        check_pictures(paths)
        segmenter = Segmenter(
            DEFAULT_MODEL if model is None else model,
            num_kept_classes=topk,
            device=torch_device,
            **vars(options),
        )
        segmenter.encode(words)
        make_output_folder(output)
        if model is None:
            typer.echo(BUILT_IN_MODEL_KNOWS)
        elif segmenter.is_plain_clip:
            typer.echo(f"{model} is a plain CLIP: it segments as it is, without training, and coarsely.")

        names = output_names(paths)

        def write(path: Path, result: Segmentation) -> str:
            overlay_path = result.save(output, names[path])[0]
            return f"{overlay_path}: {result.describe()}"

        lines = overlap_reading_and_writing(
            paths,
            read=read_picture,
            compute=lambda _, picture: segmenter(picture, words),
            write=lambda path, _, result: write(path, result),
        )
        for line in tqdm(lines, desc="Segmenting", unit="picture", total=len(paths), disable=len(paths) == 1):
            # tqdm's own writing keeps the progress bar below the lines.
            tqdm.write(line)


@app.command(name="training-free", epilog="Example: fgaseg training-free openai/clip-vit-base-patch16 --out segmenter")
def training_free(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="A CLIP checkpoint: a folder or an id on the Hugging Face Hub.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make.")],
    image_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Side that pictures are resized to.", show_default="CLIP's own"),
    ] = None,
    attention: Annotated[
        DenseAttention, typer.Option(help="What a patch attends to in the last block: as in MaskCLIP, SCLIP, NACLIP.")
    ] = "value",
    residual: Annotated[
        DenseResidual, typer.Option(help="What the last block adds to: the class token, the patch, or nothing.")
    ] = "class",
    affinity_layer: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="LAYER",
            help="Smooth by how alike patches are after this block of the image tower, as in ProxyCLIP.",
            show_default="no smoothing",
        ),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SENTENCE",
            help="Sentence around each label, with {} in the label's place. Of several, the average counts.",
            show_default="the published one",
        ),
    ] = None,
) -> None:
    """Make a segmenter of a CLIP as it is, without any training.

    The folder loads like every FGASeg checkpoint: with --model, in Python, in a pipeline, in training/evaluate.py.
    """
    with bad_input_to_exit_code():
        refuse_model_folder(out)
        with quiet_transformers():
            check_architecture(clip, ("clip",))
        fields: dict[str, Any] = {"dense_attention": attention, "dense_residual": residual}
        fields |= {"affinity_layer": affinity_layer} | ({} if image_size is None else {"image_size": image_size})
        with quiet_transformers(), broken_checkpoints_named(clip):
            model, processor = load_training_free(clip, template or None, **fields)
        make_output_folder(out)
        with quiet_transformers():
            model.save_pretrained(out)
            processor.save_pretrained(out)
        typer.echo(f'{out} is ready: fgaseg segment PICTURE --labels "sky, tree" --model {out}')


@app.command(name="export-clip", epilog="Example: fgaseg export-clip my_model --out my_clip")
def export_clip(
    model: Annotated[
        str, typer.Argument(metavar="ID_OR_FOLDER", help="A FGASeg checkpoint: a folder or an id on the Hub.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make.")],
    negate_text: Annotated[
        bool,
        typer.Option(
            "--negate-text",
            help="Turn all text embeddings round: for a model trained from nothing in which words are least like what "
            "they name, as in the built-in one.",
        ),
    ] = False,
) -> None:
    """Write a model's two towers as a CLIP checkpoint in the Hub's layout."""
    with bad_input_to_exit_code():
        refuse_model_folder(out)
        segmenter, processor = load_checkpoint(model)
        make_output_folder(out)
        with quiet_transformers():
            save_clip(segmenter, processor, out, negate_text)
        typer.echo(f"{out} is ready: CLIPModel.from_pretrained({str(out)!r})")


app.command(epilog="Example: fgaseg convert model_base.pth --out catseg-base")(
    bad_input_to_exit_code()(quiet_transformers()(convert))
)
app.command(epilog="Example: fgaseg prepare a-847 --source ADE20K_2021_17_01 --out a847")(
    bad_input_to_exit_code()(prepare)
)
app.command(epilog="Example: fgaseg inspect runs/first/best")(bad_input_to_exit_code()(quiet_transformers()(inspect)))
app.command(epilog="Example: fgaseg card FOLDER --results FOLDER/results --license apache-2.0 --out README.md")(
    bad_input_to_exit_code()(quiet_transformers()(card))
)
app.command(epilog="Example: fgaseg release runs/first --repo OWNER/NAME --license apache-2.0 --dry-run")(
    bad_input_to_exit_code()(quiet_transformers()(release))
)
app.command(epilog="Example: fgaseg export runs/first/best --out onnx")(
    bad_input_to_exit_code()(quiet_transformers()(export))
)
app.command(epilog='Example: fgaseg serve --labels "car, road, sky"')(bad_input_to_exit_code()(serve))
app.command(epilog="Example: fgaseg page")(bad_input_to_exit_code()(page))
add_training_commands(app)


def example_picture() -> Path:
    """Finds the example picture that comes with the built-in model.

    Raises:
        ValueError: It was not installed.
    """
    path = builtin_model_folder() / "example.png"
    if not path.is_file():
        raise ValueError("This installation has no example picture: name a picture to segment.")
    return path


def example_labels() -> list[str]:
    """Reads the words that suit the example picture.

    Raises:
        ValueError: They were not installed.
    """
    path = builtin_model_folder() / "example.json"
    if not path.is_file():
        raise ValueError('This installation has no example: name a picture and --labels "red car, blue house, sky".')
    return check_class_names(json.loads(path.read_text(encoding="utf-8"))["labels"])


def find_pictures(arguments: Sequence[str], output: Path) -> list[Path]:
    """Lists the pictures that files, folders and patterns stand for, each once.

    A folder stands for the pictures that lie directly in it, apart from what an earlier run wrote there.

    Args:
        arguments: Files, folders and patterns.
        output: The folder that results go to.

    Raises:
        ValueError: An argument stands for no picture.
    """
    suffixes = Image.registered_extensions()
    paths: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in suffixes)
            if path.resolve() == output.resolve():
                found = [file for file in found if not file.stem.endswith(("_overlay", "_labels"))]
            if not found:
                raise ValueError(f"The folder {argument!r} holds no pictures: name another or a picture itself.")
        elif path.exists():
            found = [path]
        elif glob.has_magic(argument):
            found = [file for file in map(Path, sorted(glob.glob(argument, recursive=True))) if file.is_file()]
            if not found:
                raise ValueError(f"The pattern {argument!r} fits no file: name an existing picture.")
        else:
            raise ValueError(f"There is no picture {argument!r}: name an existing file, folder or pattern.")
        paths.update(dict.fromkeys(found))
    return list(paths)


def check_pictures(paths: Sequence[Path]) -> None:
    """Decodes every picture once, so that a broken one is known before any work is done.

    Raises:
        ValueError: A picture cannot be read or has no pixels.
    """
    for path in tqdm(paths, desc="Checking", unit="picture", disable=len(paths) == 1, leave=False):
        open_picture(path)


def make_output_folder(output: Path) -> None:
    """Makes the folder for the results and tries to write there.

    Raises:
        ValueError: It cannot be made or written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"Cannot write to the output folder {str(output)!r} ({reason}): name another.") from error


def output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Gives each picture a name for its results: its own, numbered where two pictures share one."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        # Case is ignored because some file systems do.
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}_{number}"
        taken.add(name.casefold())
        names[path] = name
    return names


def refuse_model_folder(out: Path) -> None:
    """Keeps a model from being written over another.

    Raises:
        ValueError: There is a model in the folder.
    """
    if (out / "config.json").exists():
        raise ValueError(f"There is a model in {str(out)!r} already: name a new folder.")
