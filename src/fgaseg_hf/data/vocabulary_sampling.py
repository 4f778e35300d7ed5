# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which classes a training picture is asked for, where there are too many to ask for all of them."""

import re
from collections.abc import Sequence

import numpy as np


class VocabularySampler:
    """Chooses for each training picture the classes that it is asked for: its own, and sampled others.

    With thousands of classes a picture cannot be compared with all of them in every step. Half of the other classes
    share a word with one of the picture's own ("red car" with "red house" and "blue car"), because telling these apart
    is what is hard to learn; the rest is drawn from the whole list.

    Args:
        class_names: all names.
        num_sampled_classes: how many classes every picture gets. At most three quarters of them are its own: of more, a
            random choice is kept, and the pixels of the others belong to none of the classes, which is just what the
            loss is told of them.
        held_out: names that training must never see, not even as a class that a picture does not hold.

    Raises:
        ValueError: the number does not lie between 1 and the number of names that are left, or a held-out name is
            unknown.
    """

    def __init__(self, class_names: Sequence[str], num_sampled_classes: int, held_out: Sequence[str] = ()) -> None:
        unknown = sorted(set(held_out) - set(class_names))
        if unknown:
            raise ValueError(f"The held-out name {unknown[0]!r} is not one of the class names.")
        num_usable = len(class_names) - len(set(held_out))
        if not 1 <= num_sampled_classes <= num_usable:
            raise ValueError(
                f"--num_sampled_classes is {num_sampled_classes}, but must lie between 1 and the {num_usable} class "
                "names that training may see."
            )
        self.held_out = np.array(
            [index for index, name in enumerate(class_names) if name in set(held_out)], dtype=np.int64
        )
        self.max_own_classes = max(3 * num_sampled_classes // 4, 1)
        self.num_classes = len(class_names)
        self.num_sampled_classes = num_sampled_classes
        words_of = [set(re.findall(r"\w{3,}", name.lower())) for name in class_names]
        classes_with: dict[str, list[int]] = {}
        for class_id, words in enumerate(words_of):
            for word in words:
                classes_with.setdefault(word, []).append(class_id)
        self.related_classes = [
            np.array(sorted({other for word in words for other in classes_with[word]} - {class_id}), dtype=np.int64)
            for class_id, words in enumerate(words_of)
        ]

    def __call__(self, present: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns `num_sampled_classes` different class ids in random order, among them most of the `present` ones."""
        present = np.setdiff1d(present, self.held_out)
        own = generator.permutation(present)
        # More of its own where there are too few others to fill up with.
        num_others = self.num_classes - len(self.held_out) - len(present)
        chosen = own[: max(self.max_own_classes, self.num_sampled_classes - num_others)]
        num_free = self.num_sampled_classes - len(chosen)
        if num_free:
            related = [self.related_classes[class_id] for class_id in present]
            hard = np.setdiff1d(np.concatenate(related) if related else [], present).astype(np.int64)
            hard = np.setdiff1d(hard, self.held_out)
            hard = generator.permutation(hard)[: num_free // 2]
            chosen = np.concatenate([chosen, hard])
            others = np.setdiff1d(np.arange(self.num_classes), np.concatenate([chosen, present, self.held_out]))
            others = generator.permutation(others)[: self.num_sampled_classes - len(chosen)]
            chosen = np.concatenate([chosen, others])
        return generator.permutation(chosen).astype(np.int64)
