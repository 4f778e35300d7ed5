# Copyright 2026 The fgaseg_hf authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The `fgaseg` command: one subcommand a task, each a function of this module."""

import glob
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from huggingface_hub.utils import logging as hub_logging
from PIL import Image
from tqdm import tqdm
from transformers import PreTrainedConfig
from transformers.utils import logging as transformers_logging

from . import __version__, builtin_model_folder
from .benchmark_preparation import describe_preparation, prepare_benchmark
from .benchmarks import BENCHMARKS
from .configuration_fgaseg import FGASegConfig
from .image_processing_fgaseg import UNLABELLED_ID, open_picture, picture_to_rgb
from .modeling_fgaseg import FGASegForSemanticSegmentation
from .processing_fgaseg import FGASegProcessor, check_class_names
from .visualization import class_shares, draw_overlay, save_label_map

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
            help="A FGASeg checkpoint: a folder or an id on the Hugging Face Hub.",
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
        if labels is not None:
            class_names = parse_labels(labels)
        elif pictures:
            raise ValueError('There are no labels: give them as --labels "red car, blue house, sky".')
        else:
            class_names = example_labels()
        paths = find_pictures(pictures, output) if pictures else [example_picture()]
        torch_device = choose_device(device)
        check_pictures(paths)
        segmenter = Segmenter.load(model, class_names, torch_device, template, topk)
        make_output_folder(output)
        if model is None:
            typer.echo(BUILT_IN_MODEL_KNOWS)

        names = output_names(paths)
        for path in tqdm(paths, desc="Segmenting", unit="picture", disable=len(paths) == 1):
            picture = picture_to_rgb(open_picture(path))
            label_map = segmenter.segment(picture, sliding_window, threshold)
            overlay_path = output / f"{names[path]}_overlay.png"
            draw_overlay(picture, label_map, class_names).save(overlay_path)
            save_label_map(label_map, class_names, output / f"{names[path]}_labels.png")
            # tqdm's own writing keeps the progress bar below the lines.
            tqdm.write(f"{overlay_path}: {describe_shares(label_map, class_names)}")


@app.command(epilog="Example: fgaseg prepare a-847 --source ADE20K_2021_17_01 --out a847")
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=f"Which benchmark: {', '.join(BENCHMARKS)} (pictures and label maps of your own)."
        ),
    ],
    source: Annotated[Path, typer.Option(metavar="FOLDER", help="The published files, unpacked.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="The folder to make. Stopped half-way, the same command goes on from there."
        ),
    ],
) -> None:
    """Turn a benchmark's published files into parquet, for training and evaluation.

    Prints how many pictures there are, and how many were left out and why.
    """
    with bad_input_to_exit_code():
        prepared = prepare_benchmark(name, source, out)
        typer.echo(describe_preparation(prepared))
        typer.echo(f"{out} is ready: python training/evaluate.py --dataset {out} --model ID_OR_FOLDER")


@dataclass
class Segmenter:
    """A model with the labels it looks for, whose text is encoded once for all pictures.

    Attributes:
        model: In evaluation mode, on the device to compute on.
        processor: Prepares the pictures.
        text_embeddings: (labels, dimension), unit rows.
    """

    model: FGASegForSemanticSegmentation
    processor: FGASegProcessor
    text_embeddings: torch.Tensor

    @classmethod
    def load(
        cls,
        model_name: str | None,
        class_names: Sequence[str],
        device: torch.device,
        templates: list[str] | None = None,
        num_kept_classes: int | None = None,
    ) -> "Segmenter":
        """Loads a checkpoint and encodes the labels.

        Args:
            model_name: A folder or an id on the Hub; `None` for the built-in model.
            class_names: What to look for.
            device: Where to compute.
            templates: Sentences around each name; `None` for the checkpoint's own.
            num_kept_classes: How many classes of each picture to examine; `None` for the checkpoint's own setting.

        Raises:
            ValueError: There is no such checkpoint, it is of another architecture or broken, or a template or label
                does not suit it.
        """
        source = str(builtin_model_folder()) if model_name is None else model_name
        check_architecture(source)
        with _quiet_transformers():
            try:
                overrides: dict[str, Any] = {} if num_kept_classes is None else {"num_kept_classes": num_kept_classes}
                config = FGASegConfig.from_pretrained(source, **overrides)
                processor = FGASegProcessor.from_pretrained(source)
                model, loading_info = FGASegForSemanticSegmentation.from_pretrained(
                    source, config=config, dtype=torch.float32, output_loading_info=True
                )
            # A checkpoint can be broken in as many ways as there are libraries that read it.
            except Exception as error:
                reason = str(error).strip().split("\n")[0].rstrip(".")
                raise ValueError(
                    f"The model {source!r} cannot be loaded ({reason}): save or download it anew."
                ) from error
        if missing := sorted(loading_info["missing_keys"]):
            raise ValueError(
                f"The model {source!r} lacks {len(missing)} of its weights ({missing[0]}, ...): save or download it "
                "anew."
            )
        if templates:
            processor = FGASegProcessor(processor.image_processor, processor.tokenizer, prompt_templates=templates)
        model = model.eval().to(device)
        prompts = processor(text=list(class_names), return_tensors="pt").to(device)
        with torch.inference_mode():
            text_embeddings = model.get_text_embeddings(**prompts)
        return cls(model, processor, text_embeddings)

    @torch.inference_mode()
    def segment(
        self, picture: Image.Image, sliding_window: bool = False, threshold: float | None = None
    ) -> torch.Tensor:
        """Labels every pixel of an upright RGB picture.

        Returns:
            int64 label map (height, width) of the picture's size; -1 where no label reaches `threshold`.
        """
        device = self.model.device
        size = (picture.height, picture.width)
        if not sliding_window:
            inputs = self.processor(images=picture, return_tensors="pt").to(device)
            outputs = self.model(**inputs, text_embeddings=self.text_embeddings)
            return self.processor.post_process_semantic_segmentation(outputs, [size], threshold=threshold)[0]

        inputs = self.processor(images=picture, do_resize=False, return_tensors="pt").to(device)
        (probabilities,) = self.model.segment_with_sliding_window(inputs["pixel_values"], self.text_embeddings)
        best, label_map = probabilities.max(dim=0)
        return label_map if threshold is None else torch.where(best < threshold, UNLABELLED_ID, label_map)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keeps loading bars and warnings off the terminal: what goes wrong is said in one sentence of our own."""
    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bar_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bar_enabled:
            transformers_logging.enable_progress_bar()


def parse_labels(labels: str) -> list[str]:
    """Splits "red car, blue house, sky" into names.

    Raises:
        ValueError: There is no name, or one is blank or repeated.
    """
    if not labels.strip():
        raise ValueError('The labels are empty: give them as --labels "red car, blue house, sky".')
    return check_class_names(labels.split(","))


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


def choose_device(device: str | None) -> torch.device:
    """Checks the device asked for, or takes a GPU if there is one.

    Raises:
        ValueError: There is no such device here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    # PyTorch reports missing devices by exceptions of several kinds.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"The device {device!r} cannot be used on this machine: try --device cpu.") from error
    return chosen


def check_architecture(source: str) -> None:
    """Looks at a checkpoint's configuration alone, before any weight is read.

    Args:
        source: A folder or an id on the Hub.

    Raises:
        ValueError: There is no such checkpoint, or it is not a FGASeg.
    """
    try:
        with _quiet_transformers():
            settings, _ = PreTrainedConfig.get_config_dict(source)
        # A folder without the file gives no error but no settings either.
        if "model_type" not in settings and not (Path(source) / "config.json").is_file():
            raise ValueError("It has no config.json.")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"There is no model {source!r}: give a folder with a config.json, or an id on the Hugging Face Hub (if it "
            "can be reached from here, or was downloaded before)."
        ) from error
    model_type = settings.get("model_type")
    if model_type != FGASegConfig.model_type:
        described = f"a checkpoint of the architecture {model_type!r}" if model_type else "no Transformers checkpoint"
        raise ValueError(f"The model {source!r} is {described}: give a FGASeg checkpoint.")


def describe_shares(label_map: torch.Tensor, class_names: Sequence[str]) -> str:
    """Writes "sky 41.0%, red car 3.2%, blue house 0.0%", the largest share first."""
    shares = class_shares(label_map, len(class_names))
    parts = [f"{class_names[index]} {shares[index]:.1%}" for index in (-shares).argsort(kind="stable")]
    if (label_map < 0).any():
        parts.append(f"unlabelled {1 - shares.sum():.1%}")
    return ", ".join(parts)
