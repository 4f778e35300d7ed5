# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Sliding-window prediction with the whole-picture view, the published evaluation of CAT-Seg and FGASeg."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from .argument_checks import check_real, check_whole
from .label_maps import check_are_numbers, find_best_classes

# Size of the largest tensor while the windows' probabilities are put together: 64 MiB of float32.
VALUES_PER_PART = 2**24


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
    batch_size: int | None = None,
    max_memory: int | None = None,
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
            published ratio, such that two windows an axis fit.
        overlap: Share of a window that overlaps the next.
        use_whole_picture: Whether the whole-picture view is averaged in.
        batch_size: Windows predicted at a time. `None`: on a GPU as many as fit into memory, by what the first one
            took; one elsewhere, where more at a time take more memory and no less time.
        max_memory: Bytes of GPU memory that predicting may take where `batch_size` is `None`; four fifths of what is
            free by default.

    Returns:
        For each picture, probabilities (classes, height, width) at its own size.

    Raises:
        ValueError: If there is no picture, the windows do not tile the resized square, or a logit is not a number.
    """
    _check_pictures(pixel_values)
    windows = SlidingWindows.checked(window_size, resized_size, overlap, use_whole_picture, batch_size, max_memory)
    predicted = []
    for picture in pixel_values:
        size = (picture.shape[-2], picture.shape[-1])
        logits = windows.predict(predict_logits, picture)
        probabilities = logits.new_empty(logits.shape[1], *size)
        for start, part in windows.probabilities_in_parts(logits):
            for place, single in enumerate(part, start):
                probabilities[place] = _resize(single[None, None], size)[0, 0]
        predicted.append(probabilities)
    return predicted


def label_with_sliding_window(
    predict_logits: Callable[[torch.Tensor], torch.Tensor],
    pixel_values: torch.Tensor | list[torch.Tensor],
    *,
    window_size: int = 384,
    resized_size: int | None = None,
    overlap: float = 0.333,
    use_whole_picture: bool = True,
    batch_size: int | None = None,
    max_memory: int | None = None,
    dtype: torch.dtype = torch.int64,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Finds each pixel's best class by [`predict_with_sliding_window`], in memory that does not grow with the classes.

    A photograph of 12 megapixels has 8 GiB of probabilities for 171 classes; here only those classes are brought to its
    size that can win there, see [`find_best_classes`].

    Args:
        predict_logits: See [`predict_with_sliding_window`], as all that follows.
        pixel_values: See there.
        window_size: See there.
        resized_size: See there.
        overlap: See there.
        use_whole_picture: See there.
        batch_size: See there.
        max_memory: See there.
        dtype: Of the label maps.

    Returns:
        For each picture, the label map (height, width) and its classes' probabilities (height, width).

    Raises:
        ValueError: As there.
    """
    _check_pictures(pixel_values)
    windows = SlidingWindows.checked(window_size, resized_size, overlap, use_whole_picture, batch_size, max_memory)
    labelled = []
    for picture in pixel_values:
        size = (picture.shape[-2], picture.shape[-1])
        logits = windows.predict(predict_logits, picture)
        labelled.append(find_best_classes(windows.probabilities_in_parts(logits), size, dtype=dtype))
    return labelled


@dataclass(frozen=True)
class SlidingWindows:
    """How pictures are cut into windows, and what becomes of the windows' logits.

    Attributes:
        window_size: A window's side in pixels.
        stride: From one window to the next.
        resized_size: Side of the square that pictures are resized to.
        use_whole_picture: Whether the whole picture is one more view, the last.
        batch_size: Views predicted at a time; `None`: found.
        max_memory: Bytes of GPU memory for that; `None`: four fifths of what is free.
    """

    window_size: int
    stride: int
    resized_size: int
    use_whole_picture: bool
    batch_size: int | None
    max_memory: int | None

    @classmethod
    def checked(
        cls,
        window_size: int,
        resized_size: int | None = None,
        overlap: float = 0.333,
        use_whole_picture: bool = True,
        batch_size: int | None = None,
        max_memory: int | None = None,
    ) -> "SlidingWindows":
        """Refuses settings that do not fit; see [`predict_with_sliding_window`].

        Raises:
            ValueError: If the windows do not tile the resized square.
        """
        window_size = check_whole("window_size", window_size, "a side in pixels, 1 or more")
        stride = int(window_size * (1 - check_real("overlap", overlap, "0 or more and below 1")))
        if not 0 <= overlap < 1 or stride < 1:
            raise ValueError(f"`overlap` is {overlap}; set it to 0 or more and below 1.")
        if resized_size is None:
            resized_size = window_size + stride
        check_whole("resized_size", resized_size, "a side in pixels, or None")
        if resized_size < window_size or (resized_size - window_size) % stride:
            raise ValueError(
                f"Windows of {window_size} at a stride of {stride} do not tile `resized_size` {resized_size}; set it "
                f"to {window_size} plus a multiple of {stride}."
            )
        for name, value in (("batch_size", batch_size), ("max_memory", max_memory)):
            if value is not None:
                check_whole(name, value, "1 or more, or None")
        return cls(window_size, stride, resized_size, use_whole_picture, batch_size, max_memory)

    def predict(self, predict_logits: Callable[[torch.Tensor], torch.Tensor], picture: torch.Tensor) -> torch.Tensor:
        """Predicts all views of a picture (channels, height, width).

        Returns:
            (views, classes, any height, any width): windows row by row, then the whole picture.

        Raises:
            ValueError: A logit is not a number or infinite upwards, or they have another shape.
        """
        return self.predict_resized(predict_logits, lambda side: _resize(picture[None], (side, side)))

    def predict_resized(
        self, predict_logits: Callable[[torch.Tensor], torch.Tensor], resized: Callable[[int], torch.Tensor]
    ) -> torch.Tensor:
        """The same of a picture that is given by what makes it (1, channels, side, side), for any side."""
        logits = self._predict_views(predict_logits, self.views_of_resized(resized))
        check_are_numbers(logits)
        return logits

    def views_of_resized(self, resized: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """All views of a picture that is given by what makes it (1, channels, side, side), for any side."""
        views = split_into_windows(resized(self.resized_size), self.window_size, self.stride)[0]
        return torch.cat((views, resized(self.window_size))) if self.use_whole_picture else views

    def _predict_views(
        self, predict_logits: Callable[[torch.Tensor], torch.Tensor], views: torch.Tensor
    ) -> torch.Tensor:
        if self.batch_size is not None or views.device.type != "cuda":
            return torch.cat([predict_logits(part) for part in views.split(self.batch_size or 1)])

        before = torch.cuda.memory_allocated(views.device)
        first = predict_logits(views[:1])
        # The caller's peak is left as it is: where it was higher, one view has taken less than this says.
        taken = torch.cuda.max_memory_allocated(views.device) - before
        # What PyTorch holds but does not use is free to it, too.
        unused = torch.cuda.memory_reserved(views.device) - torch.cuda.memory_allocated(views.device)
        budget = self.max_memory or int(0.8 * (torch.cuda.mem_get_info(views.device)[0] + unused))
        batch_size = max(budget // max(taken, 1), 1)
        return torch.cat([first, *(predict_logits(part) for part in views[1:].split(batch_size))])

    def probabilities_in_parts(self, logits: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Stitches the views' probabilities together, a few classes at a time.

        Args:
            logits: (views, classes, any height, any width), as from [`predict`].

        Yields:
            The place of the first class, and (some classes, resized_size, resized_size).
        """
        largest = max(len(logits) * self.window_size**2, self.resized_size**2)
        num_classes = max(VALUES_PER_PART // largest, 1)
        square = (self.resized_size, self.resized_size)
        for start in range(0, logits.shape[1], num_classes):
            part = _resize(logits[:, start : start + num_classes], (self.window_size, self.window_size)).sigmoid()
            if self.use_whole_picture:
                stitched = stitch_windows(part[:-1], square, self.stride)
                yield start, (stitched + _resize(part[-1:], square)[0]) / 2
            else:
                yield start, stitch_windows(part, square, self.stride)


def _check_pictures(pixel_values: torch.Tensor | list[torch.Tensor]) -> None:
    if len(pixel_values) == 0:
        raise ValueError("`pixel_values` is empty; give at least one picture.")
    for picture in pixel_values:
        if not isinstance(picture, torch.Tensor) or picture.dim() != 3 or 0 in picture.shape or picture.is_meta:
            raise ValueError(
                "`pixel_values` holds something else than pictures: give a tensor (batch, channels, height, width), or "
                "a list of tensors (channels, height, width)."
            )


def _resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
