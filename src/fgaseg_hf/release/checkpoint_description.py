# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What was found in a checkpoint, told in lines of text."""

from .checkpoint_inspection import CheckpointInspection


def describe_checkpoint(checkpoint: CheckpointInspection) -> str:
    """Tells all that [`fgaseg_hf.release.checkpoint_inspection.inspect_checkpoint`] found, a line each."""
    facts = {**_describe_weights(checkpoint), **_describe_inputs(checkpoint), **_describe_classes(checkpoint)}
    facts |= {**_describe_vocabulary(checkpoint), **_describe_files(checkpoint)}
    width = max(map(len, facts))
    return "\n".join(
        [
            f"{checkpoint.source}: {checkpoint.method} ({checkpoint.architecture})",
            "",
            *_block_table(checkpoint),
            "",
            *(f"{name:<{width}}  {fact}" for name, fact in facts.items()),
            "",
            *(f"{size:>13,}  {name}" for name, size in checkpoint.file_sizes.items()),
        ]
    )


def format_bytes(size: int) -> str:
    """Writes a size in decimal units: `8.4 MB`."""
    for unit, divisor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} bytes"


def _block_table(checkpoint: CheckpointInspection) -> list[str]:
    width = max(len("in all"), *(len(block.name) for block in checkpoint.blocks))
    lines = [f"{'block':<{width}}  {'parameters':>13}  {'of them train':>13}  stored as"]
    rows = [(block.name, block.num_parameters, block.num_trainable, block.dtypes) for block in checkpoint.blocks]
    rows.append(("in all", checkpoint.num_parameters, checkpoint.num_trainable, checkpoint.dtypes))
    for name, num_parameters, num_trainable, dtypes in rows:
        lines.append(f"{name:<{width}}  {num_parameters:>13,}  {num_trainable:>13,}  {', '.join(dtypes)}")
    return lines


def _describe_weights(checkpoint: CheckpointInspection) -> dict[str, str]:
    facts = {"trainable_clip": f"{checkpoint.config.trainable_clip} (which of CLIP's weights train)"}
    if checkpoint.num_buffer_values:
        facts["buffers"] = f"{checkpoint.num_buffer_values:,} stored numbers that are no parameters"
    for what in ("missing", "unexpected", "misshapen"):
        if names := getattr(checkpoint, what):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            facts[what] = f"{', '.join(names[:3])}{more}"
    return facts


def _describe_inputs(checkpoint: CheckpointInspection) -> dict[str, str]:
    size, grid_size = checkpoint.config.image_size, checkpoint.grid_size
    logits_size = grid_size if checkpoint.config.decoder_type == "cosine" else 4 * grid_size
    return {
        "pictures": f"{size} x {size} pixels in patches of {checkpoint.patch_size}: a grid of {grid_size} x "
        f"{grid_size}, logits of {logits_size} x {logits_size}",
        "other sizes": f"sides in multiples of {checkpoint.patch_size}; positions are interpolated from the table of "
        f"{checkpoint.position_grid_size} x {checkpoint.position_grid_size}",
        "prompts": f"up to {checkpoint.max_prompt_length} tokens",
    }


def _describe_classes(checkpoint: CheckpointInspection) -> dict[str, str]:
    config = checkpoint.config
    facts = {"class limit": "none"}
    if config.class_limit is not None:
        facts["class limit"] = f"{config.class_limit}: of more, each picture keeps those with the highest peak"
    if config.class_padding:
        facts["class padding"] = f"fewer than {config.class_padding} are filled up"
    facts["TopK"] = "off: the decoder works out every class"
    if config.num_kept_classes is not None:
        facts["TopK"] = f"{config.num_kept_classes} classes a picture, rule {config.class_selection_rule!r}"
    return facts


def _describe_vocabulary(checkpoint: CheckpointInspection) -> dict[str, str]:
    vocabulary = checkpoint.vocabulary
    if vocabulary is None:
        return {"vocabulary": "none: words are given with each picture"}
    shown = ", ".join(vocabulary.labels[:6]) + (", ..." if len(vocabulary.labels) > 6 else "")
    facts = {"vocabulary": f"{len(vocabulary.labels)} labels, {vocabulary.num_phrases} phrases: {shown}"}
    if vocabulary.background is not None:
        facts["background"] = repr(vocabulary.background)
    if vocabulary.fits is False:
        facts["vocabulary fits"] = "no: another text tower encoded it, or none"
    return facts


def _describe_files(checkpoint: CheckpointInspection) -> dict[str, str]:
    num_files = len(checkpoint.weight_files)
    return {
        "text tower hash": checkpoint.text_tower_hash or "not worked out",
        "weights hash": checkpoint.weights_sha256 or "not worked out",
        "weights": f"{format_bytes(checkpoint.num_weight_bytes)} in {num_files} file{'s' if num_files > 1 else ''}",
    }


__all__ = ["describe_checkpoint", "format_bytes"]
