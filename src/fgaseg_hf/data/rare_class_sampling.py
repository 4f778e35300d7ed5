# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Rare class sampling (Hoyer et al., DAFormer, arXiv 2111.14887, section 3.3): crops that show what is seldom seen.

With few pictures, a class of a few thousand pixels (a cyclist, a traffic sign) hardly ever lies in a random crop, and
is never learnt. Here each crop is drawn for a class: first the class, rare ones more often, then a picture that holds
it, then a crop that shows it.
"""

import numpy as np


class RareClassSampler:
    """Chooses for each training sample a class, and a picture that holds it.

    A class with the share `f` of all annotated pixels is chosen with a probability in proportion to
    `exp((1 - f) / temperature)`: the lower the temperature, the more often the rarest.

    Args:
        num_pixels: (pictures, classes), annotated pixels of the training split; see `class_frequencies.count_pixels`.
        temperature: above 0; the paper takes 0.01 for the 19 classes of Cityscapes.

    Attributes:
        class_ids: ids of the classes that the split holds.
        probabilities: how often each of them is chosen.

    Raises:
        ValueError: the temperature is not above 0.
    """

    def __init__(self, num_pixels: np.ndarray, temperature: float) -> None:
        if not temperature > 0:
            raise ValueError(f"--rare_class_temperature is {temperature}, but must be above 0.")
        totals = num_pixels.sum(axis=0)
        self.class_ids = np.flatnonzero(totals)
        self._pictures = [np.flatnonzero(num_pixels[:, class_id]) for class_id in self.class_ids]
        shares = totals[self.class_ids] / totals.sum()
        # the greatest exponent is 0: a low temperature must not overflow
        weights = np.exp((shares.min() - shares) / temperature)
        self.probabilities = weights / weights.sum()

    def __call__(self, generator: np.random.Generator) -> tuple[int, int]:
        """Returns the number of a picture, and the id of the class that the crop of it must show."""
        place = int(generator.choice(len(self.class_ids), p=self.probabilities))
        pictures = self._pictures[place]
        return int(pictures[generator.integers(len(pictures))]), int(self.class_ids[place])
