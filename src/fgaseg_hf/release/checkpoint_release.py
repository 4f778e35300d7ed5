# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Releases a checkpoint: collects all that belongs to it, checks it, and pushes it to the Hub."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

from ..model.vocabulary import FGASegVocabulary
from . import endpoint_handler
from .card_description import CardDescription
from .checkpoint_hashes import hash_config
from .checkpoint_inspection import CheckpointInspection, inspect_checkpoint
from .evaluation_record import EvaluationRecord
from .model_card import check_model_card, make_model_card
from .run_contents import RESULTS_FOLDER, find_checkpoint, find_results

CARD_FILE = "README.md"
HANDLER_FILE = "handler.py"
# What an earlier release may have left in the repository and this one replaces.
REPLACED_FILES = ["model*.safetensors*", "vocabulary*", "*.py", f"{RESULTS_FOLDER}/*.json"]
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
# What the model is tried on, once it is collected.
TRIAL_WORDS = ["sky", "tree", "car"]


@dataclass(frozen=True)
class CheckpointRelease:
    """What is ready to be pushed.

    Attributes:
        repo_id: Where it goes, `OWNER/NAME`.
        folder: Where it lies.
        checkpoint: What [`inspect_checkpoint`] finds there.
        records: The result files in it.
        num_card_numbers: How many numbers the card's head holds; each is in a result file.
    """

    repo_id: str
    folder: Path
    checkpoint: CheckpointInspection
    records: tuple[EvaluationRecord, ...]
    num_card_numbers: int

    @property
    def file_sizes(self) -> dict[str, int]:
        """Bytes of each file, by its path in the repository."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}

    def describe(self) -> str:
        """Tells what would be pushed and what was checked, in lines of text."""
        vocabulary = self.checkpoint.vocabulary
        sizes = self.file_sizes
        lines = [f"{self.repo_id}: {len(sizes)} files, {sum(sizes.values()):,} bytes"]
        lines += [f"{size:>13,}  {name}" for name, size in sizes.items()]
        lines += [
            f"model       {self.checkpoint.num_parameters:,} parameters, all finite; loads through the Auto classes "
            "and segments a picture",
            f"weights     SHA-256 {self.checkpoint.weights_sha256}",
            "vocabulary  " + ("none" if vocabulary is None else f"{len(vocabulary.labels)} labels"),
            f"results     {', '.join(record.file_name for record in self.records)}: measured on these weights",
            f"card        huggingface_hub reads it; its {self.num_card_numbers} numbers are those of the results",
        ]
        return "\n".join(lines)


def collect_release(
    run_folder: str | os.PathLike[str],
    repo_id: str,
    folder: str | os.PathLike[str],
    *,
    description: str | Path | None = None,
    description_fields: dict[str, Any] | None = None,
    results: Iterable[str | os.PathLike[str]] = (),
    checkpoint_name: str | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
    card: str | os.PathLike[str] | None = None,
) -> CheckpointRelease:
    """Collects model, processor, vocabulary, results and card in a folder, and checks them.

    Args:
        run_folder: A run of `training/train.py`, or a checkpoint's own folder.
        repo_id: Where it shall go, `OWNER/NAME`.
        folder: Where to collect; must be empty or not exist.
        description: A YAML file with the words of the card, see [`CardDescription`].
        description_fields: Such words that win over the file's.
        results: Result files, beside those that lie in the run's folder and its `results`.
        checkpoint_name: Which of the run's checkpoints; `best`, or without it `last`, if not given.
        vocabulary: A folder with a vocabulary to set; the checkpoint's own if not given.
        card: A finished card, in the place of one that is made from the results.

    Raises:
        ValueError: Something is missing or broken, or a result is another checkpoint's. Nothing is collected then
            that could be taken for whole.
    """
    _check_repo_id(repo_id)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{str(folder)!r} is not an empty folder: name another to collect the release in.")
    source = find_checkpoint(run_folder, checkpoint_name)
    words = None
    if card is None:
        words = CardDescription.load(description, **{**(description_fields or {}), "name": repo_id})
    checkpoint = inspect_checkpoint(source)
    _check_whole(checkpoint)
    records = find_results(run_folder, results)
    for record in records:
        record.check_checkpoint(checkpoint)

    model, processor = _load_to_release(source, vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    # The pipeline saves model, vocabulary, processor, and the code of all of them.
    make_pipeline: Any = pipeline
    make_pipeline("zero-shot-image-segmentation", model=model, processor=processor).save_pretrained(folder)
    # What makes the repository answer as a Hub Inference Endpoint.
    shutil.copyfile(str(endpoint_handler.__file__), folder / HANDLER_FILE)
    (folder / RESULTS_FOLDER).mkdir()
    for record in records:
        text = json.dumps(record.report, indent=2) + "\n"
        (folder / RESULTS_FOLDER / record.file_name).write_text(text, encoding="utf-8")

    collected = dataclasses.replace(_inspect_saved(folder, checkpoint), source=repo_id)
    try:
        card_text = str(make_model_card(collected, records, words)) if words is not None else _read_text(card)
        card_data: Any = check_model_card(card_text, records).data
        num_card_numbers = len(card_data.eval_results or [])
        (folder / CARD_FILE).write_text(card_text, encoding="utf-8")
        check_loading(folder)
    except ValueError:
        (folder / CARD_FILE).unlink(missing_ok=True)
        (folder / "config.json").unlink()
        raise
    return CheckpointRelease(repo_id, folder, collected, tuple(records), num_card_numbers)


def push_release(release: CheckpointRelease, *, private: bool = False, commit_message: str | None = None) -> str:
    """Pushes what was collected, in one commit; files of an earlier release that are no more are removed.

    Args:
        release: What [`collect_release`] returned.
        private: Whether the repository, if it is made now, is private.
        commit_message: Of the commit.

    Returns:
        The repository's address.

    Raises:
        ValueError: The Hub cannot be reached, or refuses it.
    """
    api = HfApi()
    try:
        url = api.create_repo(release.repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=release.repo_id,
            folder_path=release.folder,
            commit_message=commit_message or f"Release of {release.repo_id.split('/')[-1]}",
            delete_patterns=REPLACED_FILES,
        )
    # The client lets errors of the libraries below it through.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"The Hub did not take {release.repo_id!r} ({reason}): log in with `hf auth login` as one who may write "
            "there, and release it again."
        ) from error
    return str(url)


def check_loading(folder: str | os.PathLike[str]) -> None:
    """Loads a folder through the Auto classes and segments a picture of noise.

    Raises:
        ValueError: Something does not load, or the model answers with what is no finite number.
    """
    folder = os.fspath(folder)
    try:
        for kind in (AutoConfig, AutoModel, AutoImageProcessor, AutoTokenizer):
            kind.from_pretrained(folder)
        processor = AutoProcessor.from_pretrained(folder)
        model = AutoModelForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
        size = (3, model.config.image_size, model.config.image_size)
        picture = torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        inputs = processor(images=picture.permute(1, 2, 0).numpy(), text=TRIAL_WORDS, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        label_map = processor.post_process_semantic_segmentation(outputs, [size[1:]])[0]
    # A folder can be broken in as many ways as there are libraries that read it.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(f"What was collected does not load through the Auto classes ({reason}).") from error
    if not torch.isfinite(outputs.logits).all() or label_map.shape != size[1:]:
        raise ValueError("The collected model's logits are not finite numbers: look at the training.")


def _check_repo_id(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} cannot be a repository's name on the Hub: give OWNER/NAME.") from error
    if "/" not in repo_id:
        raise ValueError(f"The repository {repo_id!r} has no owner: give OWNER/NAME.")


def _check_whole(checkpoint: CheckpointInspection) -> None:
    for what, names in (
        ("lacks", checkpoint.missing),
        ("has no place for", checkpoint.unexpected),
        ("has another shape for", checkpoint.misshapen),
    ):
        if names:
            raise ValueError(
                f"The checkpoint {checkpoint.source!r} {what} {len(names)} of its tensors ({names[0]}, ...): save "
                "it anew."
            )


def _inspect_saved(folder: Path, checkpoint: CheckpointInspection) -> CheckpointInspection:
    """Makes sure that what was saved is what was loaded."""
    saved = inspect_checkpoint(folder)
    same_config = hash_config(saved.config) == hash_config(checkpoint.config)
    if saved.weights_sha256 != checkpoint.weights_sha256 or not same_config:
        raise ValueError(f"Saving {checkpoint.source!r} again changed its weights or its configuration: report this.")
    return saved


def _load_to_release(source: Path, vocabulary: str | os.PathLike[str] | None) -> tuple[Any, Any]:
    try:
        # A vocabulary that is to be replaced need not be whole.
        overrides = {} if vocabulary is None else {"vocabulary_key": None}
        model = AutoModelForSemanticSegmentation.from_pretrained(source, dtype="auto", **overrides)
        processor = AutoProcessor.from_pretrained(source)
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(f"The checkpoint {str(source)!r} cannot be loaded ({reason}): save it anew.") from error
    # Without its files Transformers makes a tokenizer that knows no word, and says nothing.
    has_words = any((source / name).is_file() for name in TOKENIZER_FILES)
    if not has_words or len(processor.tokenizer) > model.config.text_config.vocab_size:
        raise ValueError(
            f"The checkpoint {str(source)!r} has no tokenizer that fits its text tower: save one beside it."
        )
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise ValueError(f"The checkpoint {str(source)!r} has values in {name} that are no finite numbers.")
    if vocabulary is not None:
        loaded = FGASegVocabulary.load(vocabulary)
        model.set_vocabulary(loaded if loaded.fits(model) else loaded.encode(model, processor))
    return model.eval(), processor


def _read_text(path: str | os.PathLike[str] | None) -> str:
    try:
        return Path(os.fspath(path or "")).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The model card {str(path)!r} cannot be read: name a Markdown file.") from error


__all__ = [
    "CheckpointRelease",
    "check_loading",
    "collect_release",
    "push_release",
]
