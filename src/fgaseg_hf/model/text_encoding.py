# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Phrases and their embeddings: encoded in bounded memory, and bound to the text tower that made them."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .argument_checks import check_whole
from .quoting import quote

# The parts of a model that text embeddings depend on.
TEXT_TOWER_MODULES = ("text_model", "text_projection")

# How many phrases are encoded again to compare text towers of different precision.
NUM_PROBES = 4
# How alike their embeddings must come out.
PROBE_SIMILARITY = 0.99


def text_tower_parameters(model: Any) -> list[torch.nn.Parameter]:
    """The parameters that text embeddings depend on."""
    return [parameter for name in TEXT_TOWER_MODULES for parameter in getattr(model.base_model, name).parameters()]


def is_text_tower_whole(model: Any) -> bool:
    """Whether all its weights are in this process's memory: neither offloaded nor sharded over processes."""
    return all(
        not parameter.is_meta and parameter.numel() > 0 and not hasattr(parameter, "placements")
        for parameter in text_tower_parameters(model)
    )


def fingerprint_text_tower(model: Any) -> tuple[Any, ...]:
    """Tells a text tower that has changed from one that has not, without looking at its weights.

    Each parameter counts by where it lies and how often it was written to. Whatever trains, loads or replaces weights
    changes that; so does moving them, which changes no embedding.

    Args:
        model: A `FGASegModel` or `FGASegForSemanticSegmentation`.
    """
    return tuple(
        # Parameters made in inference mode count no writes.
        (parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version, parameter.dtype)
        for parameter in text_tower_parameters(model)
    )


def has_adapters(model: Any) -> bool:
    """Whether the text tower holds adapters, which can be switched without any weight being written to."""
    return any(
        hasattr(module, "adapter_layer_names")
        for name in TEXT_TOWER_MODULES
        for module in getattr(model.base_model, name).modules()
    )


def encode_token_ids(model: Any, input_ids: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
    """Encodes prompts a few at a time, in evaluation mode and in the weights' own precision.

    Args:
        model: A `FGASegModel` or `FGASegForSemanticSegmentation`.
        input_ids: (phrases, templates, length).
        batch_size: How many prompts go through the text tower at a time.

    Returns:
        Embeddings of unit length, (phrases, dim), on the model's device, that gradients may pass by.
    """
    text_model = model.base_model.text_model
    was_training = text_model.training
    text_model.eval()
    device_type = text_model.device.type
    # What is made in inference mode could not be part of a training step later.
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
        try:
            phrases = input_ids.to(text_model.device).split(max(1, batch_size // input_ids.shape[1]))
            return torch.cat([model.get_text_embeddings(some) for some in phrases])
        finally:
            text_model.train(was_training)


@torch.no_grad()
def encode_class_names(model: Any, processor: Any, class_names: Sequence[str], batch_size: int = 256) -> torch.Tensor:
    """Encodes class names a few at a time, so that the memory needed does not grow with their number.

    Args:
        model: A `FGASegModel` or `FGASegForSemanticSegmentation`.
        processor: The checkpoint's `FGASegProcessor`; its templates make the prompts.
        class_names: What to encode, at least one.
        batch_size: How many prompts go through the text tower at a time.

    Returns:
        Embeddings of unit length, (names, dim), on the model's device.

    Raises:
        ValueError: `batch_size` is below 1, the processor refuses a name, or an embedding is not a number.
    """
    check_whole("batch_size", batch_size, "1 or more")
    names_at_once = max(1, batch_size // len(processor.prompt_templates))
    text_model = model.base_model.text_model
    was_training = text_model.training
    text_model.eval()
    try:
        parts = []
        for start in range(0, len(class_names), names_at_once):
            names = list(class_names[start : start + names_at_once])
            prompts = processor(text=names, return_tensors="pt").to(model.device)
            parts.append(model.get_text_embeddings(prompts["input_ids"], prompts.get("attention_mask")))
    finally:
        text_model.train(was_training)
    embeddings = torch.cat(parts)
    broken = (~embeddings.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise ValueError(
            f"The text tower makes values that are not numbers of {quote(class_names[broken[0]])} ({len(broken) - 1} "
            "more): its weights hold such values, or it needs float32 or bfloat16."
        )
    return embeddings


def hash_tensors(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Hashes tensors: names, types, shapes and values, in the order in which they come.

    Args:
        tensors: Pairs of a name and a tensor; they may be made one at a time, so that one is in memory at a time.

    Returns:
        A SHA-256.
    """
    digest = hashlib.sha256()
    for name, values in tensors:
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_text_tower(model: Any) -> str | None:
    """Hashes all weights that text embeddings depend on: names, types, shapes and values.

    Args:
        model: A `FGASegModel` or `FGASegForSemanticSegmentation`.

    Returns:
        A SHA-256, or `None` if some of the weights are not in memory (offloaded).
    """
    tensors = [
        (f"{module_name}.{name}", weights)
        for module_name in TEXT_TOWER_MODULES
        for name, weights in sorted(getattr(model.base_model, module_name).state_dict().items())
    ]
    return None if any(weights.is_meta for _, weights in tensors) else hash_tensors(tensors)


def hash_tokenizer(tokenizer: Any) -> str:
    """Hashes what a tokenizer makes token ids with; padding and truncation, which calls change, do not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules: Any = tokenizer.get_vocab() if backend is None else json.loads(backend.to_str())
    if backend is not None:
        rules = {name: rule for name, rule in rules.items() if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class FGASegTextEncoding:
    """Phrases with their embeddings, and by what they were made.

    Attributes:
        phrases: The phrases, one a row of `embeddings`.
        embeddings: (phrases, dim) float32, of unit length, on the CPU.
        templates: The sentences around each phrase; their embeddings were averaged.
        text_tower_hash: Of the text tower's weights, see [`hash_text_tower`].
        text_tower_dtype: In which precision they were.
        tokenizer_hash: Of the tokenizer, see [`hash_tokenizer`].
        probe_input_ids: (phrases, templates, length): the token ids of the phrases, so that a text tower that has
            learnt encodes them anew; in files of before these were kept, of the first few only.
    """

    phrases: list[str]
    embeddings: torch.Tensor
    templates: list[str]
    text_tower_hash: str
    text_tower_dtype: str
    tokenizer_hash: str
    probe_input_ids: torch.Tensor

    @property
    def key(self) -> str:
        """One hash of the text tower, the tokenizer and the templates: phrases of one key lie in one space."""
        parts = [self.text_tower_hash, self.tokenizer_hash, self.templates]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def is_tokenized(self) -> bool:
        """Whether the token ids of all phrases are known."""
        return len(self.probe_input_ids) >= len(self.phrases)

    def renewed(self, model: Any) -> "FGASegTextEncoding":
        """The same phrases, encoded by a model whose text tower has learnt since.

        Args:
            model: A `FGASegModel` or `FGASegForSemanticSegmentation`.

        Raises:
            ValueError: If the token ids are not known, or the text tower's weights not in memory.
        """
        text_tower_hash = hash_text_tower(model)
        if not self.is_tokenized or text_tower_hash is None:
            raise ValueError("The words' token ids or the text tower are not in memory: encode the vocabulary anew.")
        return replace(
            self,
            embeddings=encode_token_ids(model, self.probe_input_ids).float().cpu(),
            text_tower_hash=text_tower_hash,
            text_tower_dtype=str(model.base_model.text_projection.weight.dtype),
        )

    def fits(self, model: Any) -> bool:
        """Whether the model's text tower is the one that made the embeddings.

        Weights of the same precision must be the same to the bit. Those that were loaded in another precision cannot
        be; they must make nearly the same embeddings of the first phrases.

        Args:
            model: A `FGASegModel` or `FGASegForSemanticSegmentation`.
        """
        base = model.base_model
        if self.embeddings.shape[1] != base.config.projection_dim:
            return False
        weights_hash = None
        if str(base.text_projection.weight.dtype) == self.text_tower_dtype:
            weights_hash = hash_text_tower(model)
        if weights_hash is not None:
            return weights_hash == self.text_tower_hash
        if int(self.probe_input_ids.max()) >= base.config.text_config.vocab_size:
            return False
        probes = encode_token_ids(model, self.probe_input_ids[:NUM_PROBES]).float().cpu()
        similarities = (probes * self.embeddings[: len(probes)]).sum(dim=1)
        return bool(similarities.min() >= PROBE_SIMILARITY)


__all__ = ["FGASegTextEncoding", "encode_class_names"]
