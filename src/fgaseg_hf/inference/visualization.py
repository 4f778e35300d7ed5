# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps made visible: colours for classes, overlays with a legend, palette files."""

import colorsys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..model.argument_checks import check_real
from .fonts import writable

# Turning the hue by the golden ratio puts each new colour into the largest gap that the earlier ones left.
GOLDEN_RATIO_STEP = 0.618033988749895
# (saturation, value) of one class after the other, so that neighbouring hues differ in brightness too.
# Chosen, with the first hue, for the least difference (CIE Lab) among the first 8, 12 and 20 colours.
TONES = ((0.80, 0.95), (0.42, 1.00), (0.95, 0.62), (0.35, 0.85), (0.55, 1.00), (1.00, 0.40), (0.90, 0.80))
FIRST_HUE = 0.35

PANEL_COLOUR = (255, 255, 255)
TEXT_COLOUR = (32, 32, 32)

# Large pictures are drawn so many pixels at a time, for what that takes to be small beside them.
PIXELS_AT_ONCE = 2**18


def class_palette(num_classes: int) -> np.ndarray:
    """Makes one colour a class: all different, the same at every call, and unchanged by classes added at the end.

    Args:
        num_classes: How many colours to make, 0 or more.

    Returns:
        uint8 array of shape (num_classes, 3), RGB.

    Raises:
        ValueError: `num_classes` is negative.
    """
    if num_classes < 0:
        raise ValueError(f"`num_classes` is {num_classes}: give 0 or more.")
    palette = np.zeros((num_classes, 3), dtype=np.uint8)
    taken: set[tuple[int, int, int]] = set()
    step = 0
    for index in range(num_classes):
        while True:
            saturation, value = TONES[step % len(TONES)]
            # Later rounds dim a little, else a few thousand classes would use the tones up.
            dimming = 1 - 0.5 * (step // 4096 % 64) / 64
            hue = (FIRST_HUE + step * GOLDEN_RATIO_STEP) % 1
            red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value * dimming)
            colour = (round(red * 255), round(green * 255), round(blue * 255))
            step += 1
            if colour not in taken:
                break
        taken.add(colour)
        palette[index] = colour
    return palette


def class_shares(label_map: Any, num_classes: int) -> np.ndarray:
    """Measures which part of a picture each class covers.

    Args:
        label_map: Class ids of shape (height, width); ids below 0 or from `num_classes` on belong to no class.
        num_classes: Number of classes.

    Returns:
        float64 array of shape (num_classes,), of sum 1 if every pixel has a class.
    """
    ids = label_ids(label_map)
    counts = np.zeros(num_classes, dtype=np.int64)
    for rows in bands_of(ids.shape):
        band = ids[rows]
        counts += np.bincount(band[(band >= 0) & (band < num_classes)], minlength=num_classes)
    return counts / ids.size


def bands_of(shape: tuple[int, ...]) -> list[slice]:
    """Cuts a picture of a shape into bands of rows."""
    rows = max(PIXELS_AT_ONCE // shape[1], 1)
    return [slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows)]


def label_ids(label_map: Any) -> np.ndarray:
    """Reads a label map (array, tensor or one-channel picture) as whole numbers of shape (height, width)."""
    if hasattr(label_map, "detach"):
        label_map = label_map.detach().cpu()
    ids = np.asarray(label_map)
    if ids.ndim != 2 or ids.size == 0 or ids.dtype.kind not in "iub":
        raise ValueError(
            f"The label map has shape {ids.shape} and type {ids.dtype}: give whole numbers of shape (height, width)."
        )
    return ids.astype(np.uint8) if ids.dtype == np.bool_ else ids


def check_class_ids(ids: np.ndarray, num_classes: int) -> None:
    """Refuses ids without a name, except the two marks for "no class": negative ids, and 255 beyond the names."""
    for rows in bands_of(ids.shape):
        band = ids[rows]
        unknown = (band >= num_classes) & (band != 255)
        if unknown.any():
            raise ValueError(
                f"The label map holds the id {band[unknown][0]} but there are {num_classes} class names: name every "
                "class."
            )


def draw_overlay(image: Image.Image, label_map: Any, class_names: Sequence[str], alpha: float = 0.5) -> Image.Image:
    """Lays the colours of the classes over a picture, outlines them, and writes a legend with their shares below it.

    Args:
        image: The picture, upright, of any mode; it is read as the image processor reads it.
        label_map: Class ids of shape (height, width) (array, tensor or picture); negative ids, and 255 where there are
            fewer names, mark pixels without a class and keep the picture's own colours.
        class_names: One name an id.
        alpha: Opacity of the colours, from 0 (the picture alone) to 1.

    Returns:
        RGB picture as wide as `image` (wider if the legend needs it) and taller by the legend, which lists the classes
        that occur, the largest first.

    Raises:
        ValueError: The sizes differ, an id has no name, or `alpha` is out of range.
    """
    return _joined(*overlay_in_bands(image, label_map, class_names, alpha))


def overlay_in_bands(
    image: Image.Image, label_map: Any, class_names: Sequence[str], alpha: float = 0.5
) -> tuple[tuple[int, int], Iterator[Image.Image]]:
    """Draws [`draw_overlay`] in bands, none of which needs those before it.

    Returns:
        Width and height of the whole, and its bands from the top to the bottom.

    Raises:
        ValueError: As there.
    """
    ids = label_ids(label_map)
    if ids.shape != (image.height, image.width):
        raise ValueError(
            f"The label map is {ids.shape[0]} x {ids.shape[1]} but the picture {image.height} x {image.width} "
            "(height x width): give a map of the picture's own size."
        )
    check_real("alpha", alpha, "an opacity from 0 to 1", 0, 1)
    check_class_ids(ids, len(class_names))
    palette = class_palette(len(class_names))
    return _in_bands(image, ids, palette, _legend_entries(ids, class_names, palette), alpha)


def draw_with_legend(
    image: Image.Image,
    ids: np.ndarray,
    palette: np.ndarray,
    entries: Sequence[tuple[str, tuple[int, ...] | None]],
    alpha: float,
) -> Image.Image:
    """Lays the colours of classes over a picture, outlines them, and writes a legend below it.

    Args:
        image: The picture, of any mode.
        ids: Class ids of its size; others than those of the palette mark pixels without a class.
        palette: uint8 (classes, 3).
        entries: The legend's texts and colours; no colour for an empty swatch.
        alpha: Opacity of the colours.
    """
    return _joined(*_in_bands(image, ids, palette, entries, alpha))


def _joined(size: tuple[int, int], bands: Iterator[Image.Image]) -> Image.Image:
    whole, top = Image.new("RGB", size), 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.height
    return whole


def _in_bands(
    image: Image.Image,
    ids: np.ndarray,
    palette: np.ndarray,
    entries: Sequence[tuple[str, tuple[int, ...] | None]],
    alpha: float,
) -> tuple[tuple[int, int], Iterator[Image.Image]]:
    """[`draw_with_legend`] as its size and its bands, all of one width."""
    # It imports PyTorch, which nobody needs who asks for the names of formats.
    from ..model.picture_arrays import picture_to_rgb

    picture = picture_to_rgb(image)
    legend = _draw_legend(picture.size, entries)

    def bands() -> Iterator[Image.Image]:
        for rows in bands_of(ids.shape):
            band = picture.crop((0, rows.start, picture.width, rows.stop))
            # With the rows beside it, which decide whether its own are outlines.
            around = slice(max(rows.start - 1, 0), rows.stop + 1)
            outlines = outlines_of(ids[around])[rows.start - around.start :][: rows.stop - rows.start]
            drawn = blend_colours(band, ids[rows], outlines, palette, alpha)
            if drawn.width < legend.width:
                wider = Image.new("RGB", (legend.width, drawn.height), PANEL_COLOUR)
                wider.paste(drawn)
                drawn = wider
            yield drawn
        yield legend

    return (legend.width, picture.height + legend.height), bands()


def blend_colours(
    picture: Image.Image, ids: np.ndarray, outlines: np.ndarray, palette: np.ndarray, alpha: float
) -> Image.Image:
    """Lays the colours of classes over a picture, and draws the outlines in their full colours.

    Args:
        picture: RGB.
        ids: Class ids of its size; others than those of the palette mark pixels without a class.
        outlines: bool, of its size: see [`outlines_of`].
        palette: uint8 (classes, 3).
        alpha: Opacity of the colours.
    """
    if not len(palette) or alpha == 0:
        return picture.copy()
    labelled = (ids >= 0) & (ids < len(palette))
    is_whole = bool(labelled.all())
    colours = _colour_picture(ids if is_whole else np.where(labelled, ids, 0), palette)
    # Pillow's own steps take a quarter of the time of arithmetic on arrays.
    blended = Image.blend(picture, colours, alpha)
    if not is_whole:
        blended = Image.composite(blended, picture, Image.fromarray(labelled))
        outlines = outlines & labelled
    # Outlines in the class's full colour tell neighbours of similar colour apart.
    blended.paste(colours, mask=Image.fromarray(outlines))
    return blended


def _colour_picture(ids: np.ndarray, palette: np.ndarray) -> Image.Image:
    """Each pixel in the colour of its id."""
    if len(palette) > 256:
        return Image.fromarray(palette[ids])
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette(palette.tobytes())
    return picture.convert("RGB")


def outlines_of(ids: np.ndarray) -> np.ndarray:
    """Marks pixels whose right or lower neighbour, or left or upper one, belongs to another class."""
    outlines = np.zeros(ids.shape, dtype=bool)
    sideways = ids[:, 1:] != ids[:, :-1]
    downwards = ids[1:] != ids[:-1]
    outlines[:, 1:] |= sideways
    outlines[:, :-1] |= sideways
    outlines[1:] |= downwards
    outlines[:-1] |= downwards
    return outlines


def _legend_entries(
    ids: np.ndarray, class_names: Sequence[str], palette: np.ndarray
) -> list[tuple[str, tuple[int, ...] | None]]:
    """Lists (text, colour) of the classes that occur, the largest share first; no colour for pixels without a class."""
    shares = class_shares(ids, len(class_names))
    order = np.argsort(-shares, kind="stable")
    entries: list[tuple[str, tuple[int, ...] | None]] = [
        (f"{class_names[index]}  {_percentage(shares[index])}", tuple(int(part) for part in palette[index]))
        for index in order
        if shares[index] > 0
    ]
    rest = 1 - shares.sum()
    # Guards against the rounding of the sum.
    if rest * ids.size > 0.5:
        entries.append((f"no class  {_percentage(rest)}", None))
    return entries


def _percentage(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _draw_legend(size: tuple[int, int], entries: Sequence[tuple[str, tuple[int, ...] | None]]) -> Image.Image:
    """Writes swatches and texts in as many columns as fit below a picture of such width and height."""
    font_size = max(11, min(40, round(min(size) / 26)))
    margin, swatch, line = font_size // 2, font_size, round(font_size * 1.6)
    written = [(*writable(text, font_size), colour) for text, colour in entries]
    text_width = max(int(np.ceil(font.getlength(text))) for font, text, _ in written)
    column = swatch + margin + text_width + 2 * margin
    width = max(size[0], column + margin)
    num_columns = max(1, (width - margin) // column)
    num_rows = -(-len(entries) // num_columns)

    legend = Image.new("RGB", (width, num_rows * line + 2 * margin), PANEL_COLOUR)
    draw = ImageDraw.Draw(legend)
    for position, (font, text, colour) in enumerate(written):
        # Row by row, so that the largest classes stand in the first line.
        row, col = divmod(position, num_columns)
        left, top = margin + col * column, margin + row * line
        box = (left, top + (line - swatch) // 2, left + swatch, top + (line - swatch) // 2 + swatch)
        draw.rectangle(box, fill=colour, outline=TEXT_COLOUR)
        draw.text((left + swatch + margin, top + line // 2), text, fill=TEXT_COLOUR, font=font, anchor="lm")
    return legend
