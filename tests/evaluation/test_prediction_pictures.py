# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures beside their predictions."""

import numpy as np
from PIL import Image

from fgaseg_hf.data.augmentation import IGNORED_LABEL
from fgaseg_hf.evaluation.prediction_pictures import side_by_side


def test_picture_prediction_and_truth_stand_in_a_row() -> None:
    picture = Image.new("RGB", (60, 40), (10, 200, 30))
    labels = np.zeros((40, 60), dtype=np.int64)
    labels[:20] = IGNORED_LABEL
    shown = side_by_side(picture, np.ones((40, 60), dtype=np.int64), labels, ["sky", "tree"])
    assert shown.width >= 3 * 60
    assert shown.height > 40  # titles above, legends below
    assert shown.getpixel((8 + 5, 26 + 5)) == (10, 200, 30)
