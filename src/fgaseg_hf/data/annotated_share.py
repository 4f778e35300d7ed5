# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What is odd about how much of a split is annotated: a line that is said before anybody trusts a number."""

from collections.abc import Sequence

# How many class names a line names.
NUM_NAMED = 5


def describe_odd_annotation(
    class_names: Sequence[str], class_pixels: Sequence[int], num_ignored_pixels: int
) -> str | None:
    """Says which classes occur nowhere, and how much is ignored where that is more than half.

    Masks of 0 and 255, as drawing tools make them, are found so: 255 is ignored unless it is mapped to a class.

    Args:
        class_names: names in id order.
        class_pixels: annotated pixels of each class.
        num_ignored_pixels: pixels that are not annotated.

    Returns:
        Half a sentence, or None if there is nothing to say.
    """
    absent = [name for name, number in zip(class_names, class_pixels, strict=True) if not number]
    num_pixels = sum(class_pixels) + num_ignored_pixels
    said = []
    if num_pixels and 2 * num_ignored_pixels > num_pixels:
        said.append(f"{100 * num_ignored_pixels / num_pixels:.0f} % of the pixels are ignored")
    if absent:
        named = ", ".join(absent[:NUM_NAMED]) + (" and others" if len(absent) > NUM_NAMED else "")
        said.append(f"{len(absent)} of {len(class_names)} classes occur nowhere ({named})")
    return "; ".join(said) or None
