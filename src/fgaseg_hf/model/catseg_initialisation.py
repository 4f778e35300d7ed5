# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg that goes on from CAT-Seg: what CAT-Seg does not have starts such that nothing changes yet."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

logger = logging.get_logger(__name__)

# What FGASeg adds to CAT-Seg, as the fields of the configuration that switch it on ...
ADDED_BLOCKS: dict[str, Any] = {
    "p2tformer_num_layers": 1,
    "use_alignment_head": True,
    "use_local_pseudo_masks": True,
    "use_auxiliary_heads": True,
}
# ... and as modules of the model.
_ADDED_MODULES = (
    "fgaseg.p2tformer.",
    "fgaseg.local_pseudo_masks.",
    "alignment_head.",
    "decoder.local_embedding.",
    "decoder.local_upsampling.",
    "decoder.fusions.",
    "decoder.auxiliary_heads.",
)
# Below what moves a logit, above the smallest float16, and on the side of zero where a ReLU lets gradients through.
_ALMOST_ZERO = 1e-6


def continue_from_catseg(load: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Loads a CAT-Seg checkpoint into an FGASeg that gives the same logits at first.

    Args:
        load: The model class's `from_pretrained`, as in Transformers.
        args: What it is called with ...
        kwargs: ... and what by keyword. Without `config`, every block is switched on.

    Returns:
        The model; with `output_loading_info=True` also the report, whose `missing_keys` are the new tensors.

    Raises:
        ValueError: If the checkpoint does not hold all of the configuration's CAT-Seg.
    """
    kwargs = dict(kwargs)
    return_report = kwargs.pop("output_loading_info", False)
    added_blocks = ADDED_BLOCKS if kwargs.get("config") is None else {}
    model, report = load(*args, output_loading_info=True, ignore_mismatched_sizes=True, **{**added_blocks, **kwargs})
    new = check_continuation(args[0] if args else kwargs.get("pretrained_model_name_or_path"), report)
    start_neutral(model, new)
    logger.info("New beside CAT-Seg: %s", ", ".join(new))
    if model.config.num_kept_classes is not None and model.config.use_auxiliary_heads:
        logger.warning("`num_kept_classes` ranks classes by an auxiliary head, which is untrained in a new FGASeg.")
    return (model, report) if return_report else model


def check_continuation(source: Any, report: dict[str, Any]) -> list[str]:
    """Makes sure that a checkpoint gave all of CAT-Seg, and says what is new.

    Args:
        source: The checkpoint, for the error.
        report: What `from_pretrained(..., output_loading_info=True)` returns beside the model.

    Returns:
        Names of the new tensors, sorted.

    Raises:
        ValueError: A weight of CAT-Seg is missing, of another shape, or would be dropped.
    """
    new = sorted(name for name in report["missing_keys"] if name.startswith(_ADDED_MODULES))
    problems = {
        "does not hold": sorted(set(report["missing_keys"]) - set(new)),
        "has another shape for": sorted(str(name) for name, *_ in report["mismatched_keys"]),
        "holds, and the configuration has no place for,": sorted(report["unexpected_keys"]),
    }
    for problem, names in problems.items():
        if names:
            raise ValueError(
                f"The checkpoint {str(source)!r} {problem} {names[0]} ({len(names)} tensors in all): give a whole "
                "CAT-Seg, and a configuration with its towers and decoder."
            )
    return new


@torch.no_grad()
def start_neutral(model: nn.Module, new: Iterable[str]) -> None:
    """Starts the new paths so that the logits are those of CAT-Seg, while gradients reach every new block.

    The P2Tformer adds nothing (its scale is 0). `cat` fusions pass the global half on and ignore the local one. For
    `add`, the local embedding is 0 where it is added at the patch grid, and within 1e-6 of it behind the upsampling,
    whose ReLU would be dead at 0 itself. The heads beside the main path, auxiliary and alignment, start at random.

    Args:
        model: A [`FGASegForSemanticSegmentation`].
        new: Names of the tensors that its checkpoint did not hold; the others stay as they are.
    """
    parameters, fresh = dict(model.named_parameters()), set(new)
    for name in fresh & parameters.keys():
        values = parameters[name]
        if name in ("fgaseg.p2tformer.text_scale", "fgaseg.p2tformer.patch_scale"):
            values.zero_()
        elif name.startswith("decoder.fusions."):
            # The identity on the global half, zero on the local one; the bias has one axis and stays zero.
            values.zero_()
            if values.dim() == 2:
                values[:, : values.shape[0]].fill_diagonal_(1.0)
    is_added = "decoder.local_embedding.convolution.weight" in fresh and "decoder.fusions.0.linear.weight" not in fresh
    if is_added:
        for name in ("local_embedding.convolution.weight", "local_embedding.convolution.bias"):
            parameters[f"decoder.{name}"].zero_()
        parameters["decoder.local_upsampling.convolutions.norm_2.weight"].zero_()
        parameters["decoder.local_upsampling.convolutions.norm_2.bias"].fill_(_ALMOST_ZERO)


__all__ = ["ADDED_BLOCKS", "check_continuation", "continue_from_catseg", "start_neutral"]
