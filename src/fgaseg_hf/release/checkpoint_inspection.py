# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint holds, read from its configuration and its weights' headers; hashes that tell checkpoints apart."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from ..model.configuration_fgaseg import FGASegConfig
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation, FGASegModel
from ..model.text_encoding import TEXT_TOWER_MODULES, hash_tensors
from ..model.vocabulary import VOCABULARY_FILE, FGASegVocabulary

# The model's blocks by the modules that hold them, in the order of the method's steps.
BLOCKS = {
    "vision_model": "image tower",
    "text_model": "text tower",
    "visual_projection": "projections and temperature",
    "text_projection": "projections and temperature",
    "logit_scale": "projections and temperature",
    "upsampling_guidance": "upsampling guidance",
    "p2tformer": "P2Tformer",
    "local_pseudo_masks": "local pseudo-masks",
    "decoder": "category-aware decoder",
    "alignment_head": "alignment head (training only)",
}

# Fields of a configuration that say how it was saved and what its answers are called, but not what it computes.
DESCRIPTIVE_FIELDS = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "id2label",
    "label2id",
    "transformers_version",
    "vocabulary_key",
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a safetensors header describes it.

    Attributes:
        dtype: In the format's own words: `F32`, `F16`, `BF16`, `I64`, ...
        shape: Its sides.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """How many numbers it holds."""
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True)
class CheckpointBlock:
    """Parameters of one block of the model.

    Attributes:
        name: What the block is called.
        num_parameters: How many parameters the file holds of it.
        num_trainable: How many of them train under the configuration's `trainable_clip`.
        dtypes: In which types they are stored.
    """

    name: str
    num_parameters: int
    num_trainable: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class VocabularySummary:
    """What the vocabulary beside a checkpoint holds.

    Attributes:
        labels: What the model answers with.
        num_phrases: How many names and synonyms it looks for.
        background: The label of "none of these", if there is one.
        text_tower_hash: Of the text tower that encoded it; `None` if it is not encoded.
        fits: Whether this is the checkpoint's own text tower; `None` if that cannot be told without loading weights.
    """

    labels: tuple[str, ...]
    num_phrases: int
    background: str | None
    text_tower_hash: str | None
    fits: bool | None


@dataclass(frozen=True)
class CheckpointInspection:
    """What [`inspect_checkpoint`] finds.

    Attributes:
        source: The folder or id that was looked at.
        config: Its configuration.
        architecture: The class that was saved.
        blocks: Parameters by block, in the order of the method.
        num_buffer_values: Numbers that are stored but are no parameters (running statistics).
        missing: Tensors that the model needs and the files lack.
        unexpected: Tensors that the files hold and the model has no place for.
        misshapen: Tensors whose shape is not that of the model.
        file_sizes: Bytes of each file.
        weight_files: Which of the files hold the weights.
        vocabulary: The vocabulary beside the weights, if there is one.
        text_tower_hash: See [`fgaseg_hf.model.text_encoding.hash_text_tower`]; `None` if it was not asked for, or
            the weights are not on this machine.
        weights_sha256: See [`hash_weights`]; `None` in the same cases.
    """

    source: str
    config: FGASegConfig
    architecture: str
    blocks: tuple[CheckpointBlock, ...]
    num_buffer_values: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    file_sizes: dict[str, int]
    weight_files: tuple[str, ...]
    vocabulary: VocabularySummary | None
    text_tower_hash: str | None
    weights_sha256: str | None

    @property
    def num_parameters(self) -> int:
        """All parameters that are stored."""
        return sum(block.num_parameters for block in self.blocks)

    @property
    def num_trainable(self) -> int:
        """Those that train."""
        return sum(block.num_trainable for block in self.blocks)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The types of the parameters, the most frequent first."""
        counts: Counter[str] = Counter()
        for block in self.blocks:
            for dtype in block.dtypes:
                counts[dtype] += block.num_parameters
        return tuple(dtype for dtype, _ in counts.most_common())

    @property
    def num_weight_bytes(self) -> int:
        """Bytes of the files with the weights."""
        return sum(self.file_sizes[name] for name in self.weight_files)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self._vision_config.patch_size)

    @property
    def grid_size(self) -> int:
        """Patches along a side of a picture of the configuration's `image_size`."""
        return self.config.image_size // self.patch_size

    @property
    def position_grid_size(self) -> int:
        """Patches along a side of the grid that the position table was made for; others are interpolated."""
        return int(self._vision_config.image_size) // self.patch_size

    @property
    def max_prompt_length(self) -> int:
        """Tokens of the longest prompt, with the marks of start and end."""
        return int(self._text_config.max_position_embeddings)

    @property
    def method(self) -> str:
        """Which method the switches of the configuration amount to: FGASeg, CAT-Seg or training-free CLIP."""
        if self.config.decoder_type == "cosine":
            return "training-free CLIP"
        switched_on = (
            self.config.p2tformer_num_layers,
            self.config.use_alignment_head,
            self.config.use_local_pseudo_masks,
            self.config.use_auxiliary_heads,
        )
        return "FGASeg" if any(switched_on) else "CAT-Seg"

    @property
    def _vision_config(self) -> Any:
        return self.config.vision_config

    @property
    def _text_config(self) -> Any:
        return self.config.text_config

    def to_dict(self) -> dict[str, Any]:
        """Everything that [`describe`] tells, ready for JSON."""
        return {
            "source": self.source,
            "architecture": self.architecture,
            "num_parameters": self.num_parameters,
            "num_trainable": self.num_trainable,
            "num_buffer_values": self.num_buffer_values,
            "dtypes": list(self.dtypes),
            "blocks": [asdict(block) for block in self.blocks],
            "trainable_clip": self.config.trainable_clip,
            "image_size": self.config.image_size,
            "patch_size": self.patch_size,
            "grid_size": self.grid_size,
            "position_grid_size": self.position_grid_size,
            "max_prompt_length": self.max_prompt_length,
            "class_limit": self.config.class_limit,
            "class_padding": self.config.class_padding,
            "num_kept_classes": self.config.num_kept_classes,
            "class_selection_rule": self.config.class_selection_rule,
            "vocabulary": None if self.vocabulary is None else asdict(self.vocabulary),
            "text_tower_hash": self.text_tower_hash,
            "weights_sha256": self.weights_sha256,
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "misshapen": list(self.misshapen),
            "file_sizes": self.file_sizes,
            "weight_files": list(self.weight_files),
        }

    def describe(self) -> str:
        """Tells it all in lines of text."""
        config = self.config
        lines = [f"{self.source}: {self.method} ({self.architecture})", ""]

        width = max(len("in all"), *(len(block.name) for block in self.blocks))
        lines.append(f"{'block':<{width}}  {'parameters':>13}  {'of them train':>13}  stored as")
        for block in self.blocks:
            trainable = f"{block.num_trainable:,}"
            dtypes = ", ".join(block.dtypes)
            lines.append(f"{block.name:<{width}}  {block.num_parameters:>13,}  {trainable:>13}  {dtypes}")
        dtypes = ", ".join(self.dtypes)
        lines.append(f"{'in all':<{width}}  {self.num_parameters:>13,}  {self.num_trainable:>13,}  {dtypes}")
        facts = {"trainable_clip": f"{config.trainable_clip} (which of CLIP's weights train)"}
        if self.num_buffer_values:
            facts["buffers"] = f"{self.num_buffer_values:,} stored numbers that are no parameters"
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", self.misshapen)):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                facts[what] = f"{', '.join(names[:3])}{more}"

        size = self.config.image_size
        logits_size = self.grid_size if config.decoder_type == "cosine" else 4 * self.grid_size
        facts["pictures"] = (
            f"{size} x {size} pixels in patches of {self.patch_size}: a grid of {self.grid_size} x {self.grid_size}, "
            f"logits of {logits_size} x {logits_size}"
        )
        facts["other sizes"] = (
            f"sides in multiples of {self.patch_size}; positions are interpolated from the table of "
            f"{self.position_grid_size} x {self.position_grid_size}"
        )
        facts["prompts"] = f"up to {self.max_prompt_length} tokens"
        if config.class_limit is None:
            facts["class limit"] = "none"
        else:
            facts["class limit"] = f"{config.class_limit}: of more, each picture keeps those with the highest peak"
        if config.class_padding:
            facts["class padding"] = f"fewer than {config.class_padding} are filled up"
        if config.num_kept_classes is None:
            facts["TopK"] = "off: the decoder works out every class"
        else:
            facts["TopK"] = f"{config.num_kept_classes} classes a picture, rule {config.class_selection_rule!r}"

        if self.vocabulary is None:
            facts["vocabulary"] = "none: words are given with each picture"
        else:
            labels = self.vocabulary.labels
            shown = ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")
            facts["vocabulary"] = f"{len(labels)} labels, {self.vocabulary.num_phrases} phrases: {shown}"
            if self.vocabulary.background is not None:
                facts["background"] = repr(self.vocabulary.background)
            if self.vocabulary.fits is False:
                facts["vocabulary fits"] = "no: another text tower encoded it, or none"
        facts["text tower hash"] = self.text_tower_hash or "not worked out"
        facts["weights hash"] = self.weights_sha256 or "not worked out"
        facts["weights"] = (
            f"{format_bytes(self.num_weight_bytes)} in {len(self.weight_files)} "
            f"file{'s' if len(self.weight_files) > 1 else ''}"
        )
        width = max(map(len, facts))
        lines += ["", *(f"{name:<{width}}  {fact}" for name, fact in facts.items()), ""]
        lines += [f"{size:>13,}  {name}" for name, size in self.file_sizes.items()]
        return "\n".join(lines)


def inspect_checkpoint(source: str | os.PathLike[str], with_hashes: bool = True) -> CheckpointInspection:
    """Looks into a checkpoint without loading it.

    The configuration and the headers of the weights are read; the hashes read the weights too, one tensor at a time.
    Of an id on the Hub that was not downloaded before, the headers alone are fetched and there are no hashes.

    Args:
        source: A folder, or an id on the Hub.
        with_hashes: Whether to hash the weights, if they are on this machine.

    Raises:
        ValueError: There is no such checkpoint, it is of another architecture, or its weights cannot be read.
    """
    source = os.fspath(source)
    check_architecture(source)
    folder = _local_folder(source)
    if folder is None:
        tensors, file_sizes, weight_files = _read_headers_on_hub(source)
    else:
        weight_files = _weight_files(folder)
        tensors = _read_headers(folder, weight_files)
        file_sizes = {
            path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file() and path.suffix
        }

    config = FGASegConfig.from_pretrained(source)
    architecture = (config.architectures or [FGASegForSemanticSegmentation.__name__])[0]
    # On the meta device a model has names and shapes, but no values.
    with torch.device("meta"):
        model: Any = (FGASegModel if architecture == "FGASegModel" else FGASegForSemanticSegmentation)(config)
    expected = model.state_dict()
    parameters = dict(model.named_parameters())
    stored = {name: tensor for name, tensor in tensors.items() if name in expected}

    by_block: dict[str, list[str]] = {name: [] for name in dict.fromkeys(BLOCKS.values())}
    for name in stored:
        if name in parameters:
            by_block.setdefault(block_of(name), []).append(name)
    blocks = tuple(
        CheckpointBlock(
            name=block,
            num_parameters=sum(stored[name].num_values for name in names),
            num_trainable=sum(stored[name].num_values for name in names if parameters[name].requires_grad),
            dtypes=tuple(dtype for dtype, _ in Counter(stored[name].dtype for name in names).most_common()),
        )
        for block, names in by_block.items()
        if names
    )
    if not blocks:
        raise ValueError(f"The weights in {source!r} are not those of a FGASeg: save or download it anew.")

    has_hashes = with_hashes and folder is not None
    text_tower_hash = hash_stored_text_tower(folder) if has_hashes and folder is not None else None
    return CheckpointInspection(
        source=source,
        config=config,
        architecture=architecture,
        blocks=blocks,
        num_buffer_values=sum(tensor.num_values for name, tensor in stored.items() if name not in parameters),
        missing=tuple(sorted(expected.keys() - tensors.keys())),
        unexpected=tuple(sorted(tensors.keys() - expected.keys())),
        misshapen=tuple(sorted(name for name, tensor in stored.items() if tensor.shape != tuple(expected[name].shape))),
        file_sizes=file_sizes,
        weight_files=weight_files,
        vocabulary=_summarise_vocabulary(source, folder, file_sizes, text_tower_hash),
        text_tower_hash=text_tower_hash,
        weights_sha256=hash_weights(folder) if has_hashes and folder is not None else None,
    )


def check_architecture(source: str, wanted: Sequence[str] = (FGASegConfig.model_type,)) -> str:
    """Looks at a checkpoint's configuration alone, before any weight is read.

    Args:
        source: A folder or an id on the Hub.
        wanted: Architectures that will do.

    Returns:
        The checkpoint's architecture.

    Raises:
        ValueError: There is no such checkpoint, or it is of another architecture.
    """
    try:
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
    if model_type not in wanted:
        described = f"a checkpoint of the architecture {model_type!r}" if model_type else "no Transformers checkpoint"
        known = " or ".join({FGASegConfig.model_type: "FGASeg", "clip": "CLIP"}[name] for name in wanted)
        raise ValueError(f"The model {source!r} is {described}: give a {known} checkpoint.")
    return str(model_type)


def block_of(name: str) -> str:
    """Names the block that a parameter of the model belongs to; a module that is in no list is a block by itself."""
    module = name.removeprefix("fgaseg.").split(".")[0]
    return BLOCKS.get(module, module)


def hash_weights(folder: str | os.PathLike[str]) -> str:
    """Hashes the names, types, shapes and values of all tensors of a checkpoint, one tensor at a time.

    How they are spread over files makes no difference, nor does what else lies in the folder.

    Args:
        folder: A checkpoint's folder.

    Returns:
        A SHA-256.

    Raises:
        ValueError: There are no weights, or they cannot be read.
    """
    folder = Path(folder)
    return hash_tensors(_read_tensors(folder))


def hash_stored_text_tower(folder: str | os.PathLike[str]) -> str | None:
    """Hashes a checkpoint's text tower, as [`fgaseg_hf.model.text_encoding.hash_text_tower`] does for a model loaded
    in the precision of the files.

    Args:
        folder: A checkpoint's folder.

    Returns:
        A SHA-256; `None` if the files hold no text tower.

    Raises:
        ValueError: There are no weights, or they cannot be read.
    """
    prefixes = tuple(f"{module}." for module in TEXT_TOWER_MODULES)
    tensors = _read_tensors(Path(folder), prefixes)
    first = next(tensors, None)
    if first is None:
        return None
    return hash_tensors(_chain(first, tensors))


def hash_config(config: FGASegConfig) -> str:
    """Hashes what a configuration says about computing: all fields that are not at their defaults.

    How the checkpoint was saved, its vocabulary and the names of its labels make no difference, nor do fields that a
    later version adds and that the checkpoint leaves at their defaults.

    Args:
        config: A checkpoint's configuration.

    Returns:
        A SHA-256.
    """
    # As JSON has them, where tuples are lists.
    own, default = (json.loads(json.dumps(made.to_dict(), default=str)) for made in (config, type(config)()))
    return hashlib.sha256(json.dumps(_changed_settings(own, default), sort_keys=True).encode()).hexdigest()


def hash_checkpoint(source: str | os.PathLike[str]) -> dict[str, str] | None:
    """Hashes what makes a checkpoint's results its own; `training/evaluate.py` writes it beside them.

    Args:
        source: A folder, or an id on the Hub that was downloaded.

    Returns:
        `weights_sha256` and `config_sha256`; `None` if the weights are not in safetensors files on this machine.

    Raises:
        ValueError: There is no such checkpoint, or its weights cannot be read.
    """
    source = os.fspath(source)
    check_architecture(source)
    folder = _local_folder(source)
    if folder is None:
        return None
    config = FGASegConfig.from_pretrained(source)
    return {"weights_sha256": hash_weights(folder), "config_sha256": hash_config(config)}


def format_bytes(size: int) -> str:
    """Writes a size in decimal units: `8.4 MB`."""
    for unit, divisor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} bytes"


def _changed_settings(own: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Those that are not at their defaults, in nested configurations too; descriptive ones are left out."""
    changed: dict[str, Any] = {}
    for name, value in own.items():
        if name in DESCRIPTIVE_FIELDS or (name in default and value == default[name]):
            continue
        if isinstance(value, dict) and isinstance(default.get(name), dict):
            value = _changed_settings(value, default[name])
        if value != {}:
            changed[name] = value
    return changed


def _chain(first: tuple[str, torch.Tensor], rest: Iterator[tuple[str, torch.Tensor]]) -> Iterator[Any]:
    yield first
    yield from rest


def _local_folder(source: str) -> Path | None:
    """The checkpoint's folder, or that of the Hub's cache; `None` if its weights are not on this machine."""
    if Path(source).is_dir():
        return Path(source)
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        found = cached_file(
            source, name, local_files_only=True, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        if found is not None:
            return Path(found).parent
    return None


def _weight_files(folder: Path) -> tuple[str, ...]:
    """Lists the files with the weights: one, or those that the index names.

    Raises:
        ValueError: There is none, or one that the index names is missing.
    """
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        return (SAFE_WEIGHTS_NAME,)
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not index.is_file():
        raise ValueError(
            f"There are no weights in {str(folder)!r}: it needs a {SAFE_WEIGHTS_NAME}, as `save_pretrained` writes it."
        )
    try:
        files = tuple(sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The index {str(index)!r} cannot be read: save or download the model anew.") from error
    for name in files:
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"The weights in {str(folder)!r} lack the file {name!r}: save or download the model anew.")
    return files


def _read_headers(folder: Path, weight_files: tuple[str, ...]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for name in weight_files:
        try:
            with safe_open(folder / name, framework="pt") as file:
                for tensor_name in file.keys():  # noqa: SIM118 (the file is no dictionary)
                    header = file.get_slice(tensor_name)
                    tensors[tensor_name] = StoredTensor(header.get_dtype(), tuple(header.get_shape()))
        except (SafetensorError, OSError) as error:
            raise ValueError(_unreadable(folder / name, error)) from error
    return tensors


def _read_tensors(folder: Path, prefixes: tuple[str, ...] = ("",)) -> Iterator[tuple[str, torch.Tensor]]:
    """Reads the tensors whose names begin so, without the base model's prefix, in the order of these names."""
    places = []
    for name in _weight_files(folder):
        try:
            with safe_open(folder / name, framework="pt") as file:
                places += [(tensor_name.removeprefix("fgaseg."), tensor_name, name) for tensor_name in file.keys()]  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(_unreadable(folder / name, error)) from error
    for short_name, tensor_name, file_name in sorted(places):
        if short_name.startswith(prefixes):
            with safe_open(folder / file_name, framework="pt") as file:
                yield short_name, file.get_tensor(tensor_name)


def _unreadable(path: Path, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return f"The weights in {str(path)!r} cannot be read ({reason}): save or download the model anew."


def _read_headers_on_hub(source: str) -> tuple[dict[str, StoredTensor], dict[str, int], tuple[str, ...]]:
    api = HfApi()
    try:
        metadata = api.get_safetensors_metadata(source)
        entries = [entry for entry in api.list_repo_tree(source) if isinstance(entry, RepoFile)]
    # The client lets errors of the libraries below it through.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(f"The weights of {source!r} cannot be read from the Hub ({reason}).") from error
    tensors = {
        name: StoredTensor(str(tensor.dtype), tuple(tensor.shape))
        for file in metadata.files_metadata.values()
        for name, tensor in file.tensors.items()
    }
    sizes = {entry.path: entry.size for entry in entries}
    return tensors, dict(sorted(sizes.items())), tuple(sorted(metadata.files_metadata))


def _summarise_vocabulary(
    source: str, folder: Path | None, file_sizes: dict[str, int], text_tower_hash: str | None
) -> VocabularySummary | None:
    if VOCABULARY_FILE not in file_sizes:
        return None
    try:
        path = hf_hub_download(source, VOCABULARY_FILE) if folder is None else folder / VOCABULARY_FILE
        description = json.loads(Path(path).read_text(encoding="utf-8"))
        settings = ("names", "synonyms", "groups", "templates", "background", "background_threshold")
        # The description alone: its embeddings stay where they are.
        vocabulary = FGASegVocabulary(**{name: description[name] for name in settings})
        encoding = description["encoding"]
        encoded_by = None if encoding is None else encoding["text_tower_hash"]
    except (EntryNotFoundError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The vocabulary of {source!r} cannot be read ({error}): save it anew.") from error
    return VocabularySummary(
        labels=tuple(vocabulary.labels),
        num_phrases=len(vocabulary.phrases),
        background=vocabulary.background,
        text_tower_hash=encoded_by,
        fits=None if text_tower_hash is None else encoded_by == text_tower_hash,
    )


__all__ = [
    "CheckpointBlock",
    "CheckpointInspection",
    "StoredTensor",
    "VocabularySummary",
    "hash_checkpoint",
    "hash_config",
    "hash_stored_text_tower",
    "hash_weights",
    "inspect_checkpoint",
]
