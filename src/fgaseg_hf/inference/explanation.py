# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How a model came to its answer: for each word the maps of the method's steps, as one figure."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from .fonts import writable
from .segmentation import Segmentation

# Dark to bright, of even steps in lightness, and told apart by readers of every colour vision.
HEAT = np.array([(13, 8, 60), (84, 3, 122), (158, 26, 107), (222, 73, 63), (251, 153, 6), (252, 253, 164)], dtype=float)
NOT_COMPUTED = (225, 225, 225)
TEXT_COLOUR, PAPER, FAINT = (32, 32, 32), (255, 255, 255), (110, 110, 110)


@dataclass(frozen=True)
class Explanation:
    """The maps behind a segmentation.

    Attributes:
        result: What came out.
        words: What was looked for, synonyms and members of groups each by themselves.
        maps: By the name of the step, in their order, (words, height, width) float32; NaN for words that were not
            computed, since TopK left them out.
        kept: Places of the words that went through the whole decoder.
        peaks: How high each word's first map peaks: by this TopK ranks.
    """

    result: Segmentation
    words: tuple[str, ...]
    maps: Mapping[str, np.ndarray]
    kept: tuple[int, ...]
    peaks: np.ndarray

    def figure(self) -> Image.Image:
        """Draws the picture, the answer, and a row of maps for each word, those with the highest final score first."""
        return draw_explanation(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figure."""
        self.figure().save(path)

    def _repr_png_(self) -> bytes | None:
        return self.figure()._repr_png_()

    def __repr__(self) -> str:
        return f"Explanation({len(self.words)} words, {len(self.kept)} kept; {', '.join(self.maps)})"


def explain_output(result: Segmentation, words: tuple[str, ...], features: Any, output: Any) -> Explanation:
    """Takes the maps out of what the model computed.

    Args:
        result: The segmentation.
        words: The phrases, one a class of the output.
        features: What `get_image_features` gave for the one picture.
        output: The model's output for it and the words.
    """
    maps: dict[str, torch.Tensor] = {}
    if output.aligned_text_embeddings is not output.text_embeddings:
        plain = torch.nn.functional.normalize(features.patch_features, dim=1)
        maps["before alignment"] = torch.einsum("bcd,bdhw->bchw", output.text_embeddings, plain)
    maps["global pseudo-mask"] = output.global_pseudo_masks
    if output.local_pseudo_masks is not None:
        maps["local pseudo-mask"] = output.local_pseudo_masks
    for number, logits in enumerate(output.auxiliary_logits or (), start=1):
        maps[f"auxiliary map {number}"] = _probabilities(logits)
    maps["final score"] = _probabilities(output.logits)
    kept = output.kept_classes[0].tolist() if output.kept_classes is not None else list(range(len(words)))
    ranking = next((entry for name, entry in maps.items() if name.startswith("auxiliary")), output.global_pseudo_masks)
    peaks = _all_words(ranking[0], kept, len(words)).reshape(len(words), -1).max(axis=1)
    whole = {name: _all_words(entry[0], kept, len(words)) for name, entry in maps.items()}
    return Explanation(result, words, whole, tuple(kept), peaks)


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Sigmoids; NaN for what stands at the lowest score there is, where TopK leaves words."""
    is_left_out = logits <= torch.finfo(logits.dtype).min / 2
    return logits.float().sigmoid().masked_fill(is_left_out, torch.nan)


def _all_words(maps: torch.Tensor, kept: list[int], num_words: int) -> np.ndarray:
    """Puts maps of the kept words alone to their places among all words."""
    values = maps.float().cpu().numpy()
    values = np.where(values <= np.finfo(np.float32).min / 2, np.nan, values)
    if len(values) == num_words:
        return values
    whole = np.full((num_words, *values.shape[1:]), np.nan, dtype=np.float32)
    whole[kept] = values
    return whole


def heat_colours(values: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Colours of values, uint8 (..., 3): dark for `lowest`, bright for `highest`, grey where there is none."""
    scaled = np.clip((values - lowest) / max(highest - lowest, 1e-9), 0, 1) * (len(HEAT) - 1)
    known = np.isfinite(scaled)
    scaled = np.where(known, scaled, 0)
    below = np.minimum(scaled.astype(int), len(HEAT) - 2)
    part = (scaled - below)[..., None]
    colours = HEAT[below] * (1 - part) + HEAT[below + 1] * part
    return np.where(known[..., None], colours, NOT_COMPUTED).astype(np.uint8)


def draw_explanation(explanation: Explanation) -> Image.Image:
    """Draws an explanation as one figure, readable from 1 to some 40 words.

    Every column has one scale for all words, so that words can be compared; the number under a map is its peak.
    """
    count, names = len(explanation.words), list(explanation.maps)
    tile = 176 if count <= 4 else 128 if count <= 12 else 92
    num_blocks = 1 if count <= 10 else 2 if count <= 24 else 3
    width, height = explanation.result.size
    scale = tile / max(width, height)
    tile_size = (max(round(width * scale), 24), max(round(height * scale), 24))
    line, gap = 18, 8
    row_height = tile_size[1] + 2 * line + gap
    column = max(tile_size[0], 112 if count <= 12 else 84) + gap
    block_width = column * len(names) + 3 * gap
    rows_a_block = math.ceil(count / num_blocks)
    head = _draw_head(explanation, min(block_width * num_blocks, 900))
    size = (max(block_width * num_blocks, head.width) + gap, head.height + line + rows_a_block * row_height + 2 * gap)
    canvas = Image.new("RGB", size, PAPER)
    canvas.paste(head, (0, 0))
    scales = {name: _range_of(values, name) for name, values in explanation.maps.items()}
    final = explanation.maps["final score"].reshape(count, -1)
    highest = np.where(np.isfinite(final), final, -1).max(axis=1)
    for position, place in enumerate(np.argsort(-highest, kind="stable")):
        block, row = divmod(position, rows_a_block)
        corner = (block * block_width + gap, head.height + line + row * row_height)
        if row == 0:
            for number, name in enumerate(names):
                _write(canvas, (corner[0] + number * column, head.height - 6), _short(name, count), 12, FAINT)
        _draw_row(canvas, explanation, int(place), corner, column, tile_size, scales)
    return canvas


def _draw_head(explanation: Explanation, width: int) -> Image.Image:
    """The picture and the answer beside one another."""
    overlay, picture = explanation.result.overlay(), explanation.result.picture
    factor = min((width - 24) / 2 / overlay.width, 320 / picture.height, 2.0)
    sizes = [(max(round(part.width * factor), 1), max(round(part.height * factor), 1)) for part in (picture, overlay)]
    canvas = Image.new("RGB", (sum(size[0] for size in sizes) + 24, max(size[1] for size in sizes) + 32), PAPER)
    canvas.paste(picture.resize(sizes[0]), (8, 8))
    canvas.paste(overlay.resize(sizes[1], Image.Resampling.LANCZOS), (sizes[0][0] + 16, 8))
    return canvas


def _draw_row(
    canvas: Image.Image,
    explanation: Explanation,
    place: int,
    corner: tuple[int, int],
    column: int,
    tile_size: tuple[int, int],
    scales: Mapping[str, tuple[float, float]],
) -> None:
    is_kept = place in explanation.kept
    note = (
        f"   kept, peak {explanation.peaks[place]:.2f}"
        if is_kept
        else f"   left out, peak {explanation.peaks[place]:.2f}"
    )
    width = _write(canvas, corner, explanation.words[place], 14, TEXT_COLOUR if is_kept else FAINT)
    if len(explanation.kept) < len(explanation.words):
        _write(canvas, (corner[0] + width, corner[1] + 2), note, 11, FAINT)
    for number, (name, values) in enumerate(explanation.maps.items()):
        heat = Image.fromarray(heat_colours(values[place], *scales[name]))
        left, top = corner[0] + number * column, corner[1] + 18
        canvas.paste(heat.resize(tile_size, Image.Resampling.NEAREST), (left, top))
        known = values[place][np.isfinite(values[place])]
        text = f"{known.max():.2f}" if len(known) else "not computed"
        _write(canvas, (left, top + tile_size[1] + 1), text, 11, FAINT)


def _range_of(values: np.ndarray, name: str) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) == 0 or name == "final score":
        return 0.0, 1.0
    lowest, highest = np.quantile(known, (0.01, 0.995))
    return float(lowest), float(highest)


def _short(name: str, count: int) -> str:
    return (
        name if count <= 12 else name.replace(" pseudo-mask", "").replace("auxiliary map", "aux.").replace(" score", "")
    )


def _write(canvas: Image.Image, corner: tuple[int, int], text: str, size: int, colour: tuple[int, int, int]) -> int:
    """Writes a line and gives its width."""
    font, shown = writable(text, size)
    ImageDraw.Draw(canvas).text(corner, shown, fill=colour, font=font)
    return math.ceil(font.getlength(shown))


__all__ = ["Explanation", "draw_explanation", "explain_output", "heat_colours"]
