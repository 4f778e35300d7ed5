# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Converted models on this machine: made once, beside the Hub's own cache, and found again without a network."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download

from ..model.configuration_fgaseg import FGASegConfig
from ..model.json_reading import parse_json
from .clip_checkpoints import load_training_free
from .conversion_plan import plan_conversion
from .model_conversion import convert_checkpoint
from .named_models import NAMED_MODELS, NamedModel, builtin_model_folder

logger = logging.getLogger(__name__)

STORE_FOLDER = "fgaseg_hf"
ORIGIN_FILE = "origin.json"
# Changes when folders are converted in another way than those that may lie there.
STORE_VERSION = 1
WEIGHT_FILES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_CLIP_SETTINGS = ["*.json", "*.txt"]
_SHA256_LENGTH = 64


def store_folder() -> Path:
    """Where converted models lie: in the Hub's cache, which `HF_HOME` and `HF_HUB_CACHE` move."""
    return Path(constants.HF_HUB_CACHE) / STORE_FOLDER


def cached_folder(name: str) -> Path | None:
    """The folder of a known model, if it is on this machine.

    Args:
        name: One of [`NAMED_MODELS`].
    """
    if NAMED_MODELS[name].kind == "built-in":
        return builtin_model_folder()
    folder = _folder_of(name)
    return folder if (folder / ORIGIN_FILE).is_file() else None


def fetch_named_model(name: str) -> Path:
    """Gives a known model's folder; the first time, it is fetched and converted, which a log line announces.

    Several processes may ask for the same model at once: one fetches it, the others wait.

    Args:
        name: One of [`NAMED_MODELS`].

    Returns:
        A folder that `from_pretrained` and the Auto classes load.

    Raises:
        ValueError: There is no such name, the Hub cannot be reached, or what it gives is not what was recorded.
    """
    if name not in NAMED_MODELS:
        raise ValueError(f"There is no model called {name!r}: choose among {', '.join(NAMED_MODELS)}.")
    cached = cached_folder(name)
    if cached is not None:
        return cached
    entry = NAMED_MODELS[name]

    def convert(out: Path) -> dict[str, Any]:
        logger.warning(
            "%s: fetching about %d MB from %s (licence %s), once; it is kept in %s.",
            name, entry.megabytes, entry.source, entry.license, store_folder(),
        )  # fmt: skip
        try:
            return (_convert_clip if entry.kind == "clip" else _convert_released)(entry, out)
        except ValueError:
            raise
        # Offline, gone, gated, broken off: the Hub's library has an exception for each.
        except Exception as error:
            reason = (str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__)[:200]
            raise ValueError(
                f"The model {name!r} is not on this machine and cannot be fetched from {entry.source} ({reason}): try "
                f"again where there is a network, or copy {_folder_of(name)} from a machine that has it."
            ) from error

    return _make_once(_folder_of(name), convert)


def convert_weight_file(path: Path) -> Path:
    """Gives the folder that a file of weights becomes; converted the first time, found by its content later.

    A CLIP becomes a segmenter without training: what it does not have would be untrained.

    Raises:
        ValueError: The file is no checkpoint that can be converted.
    """
    digest = sha256_of(path)

    def convert(out: Path) -> dict[str, Any]:
        plan = plan_conversion(path)
        overrides = {}
        if plan.new:
            plain = FGASegConfig.training_free(text_config={}, vision_config={})
            overrides = {
                name: getattr(plain, name)
                for name in (
                    "decoder_type",
                    "p2tformer_num_layers",
                    "use_alignment_head",
                    "use_local_pseudo_masks",
                    "use_auxiliary_heads",
                )
            }
            overrides["image_size"] = plan.config.vision_config.image_size  # type: ignore[union-attr]
        convert_checkpoint(path, out, overrides=overrides)
        return {"source": path.name, "sha256": {path.name: digest}, "training_free": bool(overrides)}

    return _make_once(store_folder() / f"{path.stem}-{digest[:16]}-v{STORE_VERSION}", convert)


def origin_of(folder: Path) -> Mapping[str, Any]:
    """What a converted folder was made of; empty for other folders."""
    path = folder / ORIGIN_FILE
    return parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}


def sha256_of(path: Path) -> str:
    """Hashes a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_of(name: str) -> Path:
    return store_folder() / f"{name}-v{STORE_VERSION}"


def _make_once(folder: Path, convert: Callable[[Path], dict[str, Any]]) -> Path:
    """Makes a folder aside and gives it its name, in one process of however many want it."""
    if (folder / ORIGIN_FILE).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not (folder / ORIGIN_FILE).is_file():
                aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
                try:
                    origin = convert(aside / "model")
                    content = json.dumps(origin, indent=2) + "\n"
                    (aside / "model" / ORIGIN_FILE).write_text(content, encoding="utf-8")
                    # Without its origin's file it is none of this store's whole folders.
                    shutil.rmtree(folder, ignore_errors=True)
                    (aside / "model").replace(folder)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise ValueError(
            f"The converted model cannot be kept in {str(folder.parent)!r} ({error.strerror or error}): make room "
            "there, or name another place by the environment variable HF_HUB_CACHE."
        ) from error
    return folder


def _convert_released(entry: NamedModel, out: Path) -> dict[str, Any]:
    repository, _, file_name = entry.source.removeprefix("spaces/").rpartition("/")
    repo_type = "space" if entry.source.startswith("spaces/") else "model"
    path = Path(hf_hub_download(repository, file_name, repo_type=repo_type))
    digest = _check_sha256(entry, path, hf_hub_url(repository, file_name, repo_type=repo_type))
    convert_checkpoint(path, out)
    return {"source": entry.source, "license": entry.license, "sha256": {file_name: digest}}


def _convert_clip(entry: NamedModel, out: Path) -> dict[str, Any]:
    folder = Path(snapshot_download(entry.source, allow_patterns=[*_CLIP_SETTINGS, "model.safetensors"]))
    if not (folder / "model.safetensors").is_file():
        folder = Path(snapshot_download(entry.source, allow_patterns=[*_CLIP_SETTINGS, "pytorch_model.bin"]))
    hashes = {}
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            hashes[name] = _check_sha256(entry, folder / name, hf_hub_url(entry.source, name))
            break
    model, processor = load_training_free(folder)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return {"source": entry.source, "license": entry.license, "sha256": hashes, "training_free": True}


def _sha256_by_the_hub(url: str) -> str | None:
    """The SHA-256 that the Hub keeps of each large file."""
    etag = get_hf_file_metadata(url).etag
    return etag if etag is not None and len(etag) == _SHA256_LENGTH else None


def _check_sha256(entry: NamedModel, path: Path, url: str) -> str:
    """Compares a file that was fetched with what is known of it, and remembers it for the next time.

    Raises:
        ValueError: It is not the file that the table of models names, or the Hub, or that was fetched here before.
    """
    digest = sha256_of(path)
    # Stays when the model's folder is deleted, to be made anew.
    repository = entry.source.removesuffix(f"/{path.name}").replace("/", "--")
    first = store_folder() / f"{repository}--{path.name}.sha256"
    by_first = first.read_text(encoding="utf-8").split()[0] if first.is_file() else None
    for recorded, by_whom in (
        (entry.sha256.get(path.name), "this package knows"),
        (_sha256_by_the_hub(url), "the Hub names"),
        (by_first, f"was fetched the first time (delete {first} if its authors replaced it)"),
    ):
        if recorded is not None and digest != recorded:
            raise ValueError(
                f"The file {path.name} that was fetched is not the one that {by_whom}: its SHA-256 is {digest[:12]}... "
                f"instead of {recorded[:12]}...; delete {path} and try again."
            )
    first.parent.mkdir(parents=True, exist_ok=True)
    first.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    return digest


__all__ = [
    "WEIGHT_FILES",
    "cached_folder",
    "convert_weight_file",
    "fetch_named_model",
    "origin_of",
    "sha256_of",
    "store_folder",
]
