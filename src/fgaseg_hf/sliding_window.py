"""Sliding-window prediction with the whole-picture view, the published evaluation of CAT-Seg and FGASeg."""

from collections.abc import Callable

import torch
from torch import nn


def split_into_windows(pictures: torch.Tensor, window_size: int, stride: int) -> torch.Tensor:
    """Cuts pictures into overlapping squares.

    Args:
        pictures: (batch, channels, height, width), sides `window_size` plus multiples of `stride`.
        window_size: A window's side.
        stride: From one window to the next.

    Returns:
        (batch, windows, channels, window_size, window_size), row by row.
    """
    windows = pictures.unfold(2, window_size, stride).unfold(3, window_size, stride)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def stitch_windows(windows: torch.Tensor, size: tuple[int, int], stride: int) -> torch.Tensor:
    """Undoes [`split_into_windows`]; where windows overlap, they are averaged.

    Args:
        windows: (windows, channels, window_size, window_size) of one picture.
        size: The picture's height and width.
        stride: From one window to the next.

    Returns:
        (channels, height, width).
    """
    window_size = windows.shape[-1]
    columns = (size[1] - window_size) // stride + 1
    total = windows.new_zeros(windows.shape[1], *size)
    count = windows.new_zeros(size)
    for index, window in enumerate(windows):
        top, left = index // columns * stride, index % columns * stride
        total[:, top : top + window_size, left : left + window_size] += window
        count[top : top + window_size, left : left + window_size] += 1
    return total / count


def predict_with_sliding_window(
    predict_logits: Callable[[torch.Tensor], torch.Tensor],
    pixel_values: torch.Tensor | list[torch.Tensor],
    *,
    window_size: int = 384,
    resized_size: int | None = None,
    overlap: float = 0.333,
    use_whole_picture: bool = True,
    batch_size: int = 8,
) -> list[torch.Tensor]:
    """Predicts pictures of different sizes window by window.

    Each picture is resized to a square, cut into overlapping windows, and also seen whole at a window's size.
    Probabilities are averaged where windows overlap, then with those of the whole picture, and resized to the picture.
    All resizing is bilinear (align_corners False).

    Args:
        predict_logits: Maps pictures (batch, channels, window_size, window_size) to logits (batch, classes, any, any).
        pixel_values: Normalised pictures, (batch, channels, height, width), or a list of (channels, height, width).
        window_size: A window's side in pixels.
        resized_size: Side to which pictures are first resized; 5 / 3 of the window (640 for 384) by default, the
        published
            ratio, such that two windows an axis fit.
        overlap: Share of a window that overlaps the next.
        use_whole_picture: Whether the whole-picture view is averaged in.
        batch_size: Windows predicted at a time.

    Returns:
        For each picture, probabilities (classes, height, width) at its own size.

    Raises:
        ValueError: If there is no picture, or the windows do not tile the resized square.
    """
    if len(pixel_values) == 0:
        raise ValueError("`pixel_values` is empty; give at least one picture.")
    stride = int(window_size * (1 - overlap))
    if not 0 <= overlap < 1 or stride < 1:
        raise ValueError(f"`overlap` is {overlap}; set it to 0 or more and below 1.")
    if resized_size is None:
        resized_size = window_size + stride
    if resized_size < window_size or (resized_size - window_size) % stride:
        raise ValueError(
            f"Windows of {window_size} at a stride of {stride} do not tile `resized_size` {resized_size}; set it to "
            f"{window_size} plus a multiple of {stride}."
        )
    square = (resized_size, resized_size)

    probabilities = []
    for picture in pixel_values:
        views = split_into_windows(_resize(picture[None], square), window_size, stride)[0]
        if use_whole_picture:
            views = torch.cat((views, _resize(picture[None], (window_size, window_size))))
        predicted = torch.cat(
            [_resize(predict_logits(part), (window_size, window_size)).sigmoid() for part in views.split(batch_size)]
        )
        if use_whole_picture:
            stitched = stitch_windows(predicted[:-1], square, stride)
            stitched = (stitched + _resize(predicted[-1:], square)[0]) / 2
        else:
            stitched = stitch_windows(predicted, square, stride)
        probabilities.append(_resize(stitched[None], tuple(picture.shape[-2:]))[0])
    return probabilities


def _resize(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    return nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
