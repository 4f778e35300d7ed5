# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Rows of a split: pictures, ids, maps of ids, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image
from tiny_splits import NAMES, label_map, rows_of, split_of

from fgaseg_hf.data.augmentation import IGNORED_LABEL
from fgaseg_hf.data.segmentation_split import SegmentationSplit, spread_evenly


def test_ids_of_every_depth_and_palette_indices_come_whole() -> None:
    palette = label_map([[0, 5], [255, 1]])
    palette.putpalette([200, 10, 10, 5, 5, 5, 77, 0, 0] + [0] * 759)
    assert palette.mode == "P"
    maps = [label_map([[0, 5], [255, 1]]), label_map([[0, 5], [255, 1]], np.uint16), palette]
    split = split_of(maps)
    for index in range(3):
        picture, labels = split[index]
        assert picture.mode == "RGB"
        assert labels.tolist() == [[0, 5], [IGNORED_LABEL, 1]]
        assert split.label_map(index).tolist() == labels.tolist()


def test_ids_are_mapped_and_the_rest_is_ignored() -> None:
    split = split_of([label_map([[7, 900], [3, 901]], np.uint16)], id_map={7: 0, 900: 4})
    assert split[0][1].tolist() == [[0, 4], [IGNORED_LABEL, IGNORED_LABEL]]
    # ignored ids win over the map
    split = split_of([label_map([[7, 900]], np.uint16)], id_map={7: 0, 900: 4}, ignored_ids=(7,))
    assert split[0][1].tolist() == [[IGNORED_LABEL, 4]]
    with pytest.raises(ValueError, match="leads to the class 6"):
        split_of([label_map([[0]])], id_map={0: 6})


def test_wrong_ids_are_found_before_training() -> None:
    good, bad = label_map([[0, 1]]), label_map([[0, 6]])
    split = split_of([good, good, bad])
    with pytest.raises(ValueError, match=r"row 2 holds the id 6, but there are 6 class names \(ids 0 to 5\)"):
        split.check_label_maps()
    with pytest.raises(ValueError, match="row 2"):
        split[2]
    assert split_of([good, good, bad], ignored_ids=(6,)).check_label_maps() == 3
    assert split_of([good, good, good]).check_label_maps(2) == 2
    # shared out among processes, each of which reads its own
    assert split.check_label_maps(process_index=1, num_processes=2) == 3
    with pytest.raises(ValueError, match="row 2"):
        split.check_label_maps(process_index=0, num_processes=2)


def test_bad_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="row 0 cannot be read. It is a colour picture"):
        split_of([Image.new("RGB", (2, 2))])[0]
    rows = rows_of([label_map([[0, 1]])], [Image.new("RGB", (3, 1))])
    with pytest.raises(ValueError, match="3 x 1 pixels but a label map of 2 x 1"):
        SegmentationSplit(rows=rows, class_names=NAMES)[0]
    with pytest.raises(ValueError, match="no column 'mask', only image, annotation"):
        split_of([label_map([[0]])], annotation_column="mask")


def test_spread_evenly() -> None:
    assert spread_evenly(3, 11) == [0, 5, 10]
    assert spread_evenly(20, 3) == [0, 1, 2]
    assert spread_evenly(0, 3) == []
    assert spread_evenly(1, 3) == [0]
