# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint holds, read from its configuration and its weights' headers."""

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from ..model.configuration_fgaseg import FGASegConfig
from ..model.json_reading import parse_json
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation, FGASegModel
from ..model.vocabulary import FGASegVocabulary
from ..model.vocabulary_files import VOCABULARY_FILE
from .checkpoint_files import (
    StoredTensor,
    check_architecture,
    find_local_folder,
    list_weight_files,
    read_config,
    read_headers,
    read_headers_on_hub,
)
from .checkpoint_hashes import hash_stored_text_tower, hash_weights

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
        """Everything that [`fgaseg_hf.release.checkpoint_description.describe_checkpoint`] tells, ready for JSON."""
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
    folder = find_local_folder(source)
    if folder is None:
        tensors, file_sizes, weight_files = read_headers_on_hub(source)
    else:
        weight_files = list_weight_files(folder)
        tensors = read_headers(folder, weight_files)
        file_sizes = {
            path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file() and path.suffix
        }

    config = read_config(source)
    architecture = (config.architectures or [FGASegForSemanticSegmentation.__name__])[0]
    # On the meta device a model has names and shapes, but no values.
    with torch.device("meta"):
        model: Any = (FGASegModel if architecture == "FGASegModel" else FGASegForSemanticSegmentation)(config)
    expected = model.state_dict()
    parameters = dict(model.named_parameters())
    stored = {name: tensor for name, tensor in tensors.items() if name in expected}

    blocks = _count_by_block(stored, parameters)
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


def block_of(name: str) -> str:
    """Names the block that a parameter of the model belongs to; a module that is in no list is a block by itself."""
    module = name.removeprefix("fgaseg.").split(".")[0]
    return BLOCKS.get(module, module)


def _count_by_block(
    stored: dict[str, StoredTensor], parameters: dict[str, torch.nn.Parameter]
) -> tuple[CheckpointBlock, ...]:
    by_block: dict[str, list[str]] = {name: [] for name in dict.fromkeys(BLOCKS.values())}
    for name in stored:
        if name in parameters:
            by_block.setdefault(block_of(name), []).append(name)
    return tuple(
        CheckpointBlock(
            name=block,
            num_parameters=sum(stored[name].num_values for name in names),
            num_trainable=sum(stored[name].num_values for name in names if parameters[name].requires_grad),
            dtypes=tuple(dtype for dtype, _ in Counter(stored[name].dtype for name in names).most_common()),
        )
        for block, names in by_block.items()
        if names
    )


def _summarise_vocabulary(
    source: str, folder: Path | None, file_sizes: dict[str, int], text_tower_hash: str | None
) -> VocabularySummary | None:
    if VOCABULARY_FILE not in file_sizes:
        return None
    try:
        path = hf_hub_download(source, VOCABULARY_FILE) if folder is None else folder / VOCABULARY_FILE
        description = parse_json(Path(path).read_text(encoding="utf-8"))
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


__all__ = ["CheckpointBlock", "CheckpointInspection", "VocabularySummary", "inspect_checkpoint"]
