# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What the package supervision makes of a map that a model which knows its classes gave."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_processor
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

NAMES = {0: "sky", 1: "red car", 2: "tree"}


def test_detections_have_a_mask_and_a_name_a_class(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    tiny_model().save_pretrained(tmp_path)
    tiny_processor().save_pretrained(tmp_path)
    model = AutoModelForSemanticSegmentation.from_pretrained(
        tmp_path, id2label=NAMES, label2id={name: index for index, name in NAMES.items()}
    )
    image_processor = AutoImageProcessor.from_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    with torch.no_grad():
        outputs = model(**image_processor(picture, return_tensors="pt"))
    label_map = image_processor.post_process_semantic_segmentation(outputs, [(40, 56)])[0]
    # Upper rows of other classes: a random model may see one alone.
    label_map[:10, :20], label_map[:10, 20:] = 0, 2
    detections = supervision.Detections.from_transformers(label_map, id2label=model.config.id2label)
    ids = label_map.unique().tolist()
    assert sorted(detections.class_id.tolist()) == ids and {0, 2} <= set(ids)
    for mask, class_id, name in zip(detections.mask, detections.class_id, detections.data["class_name"], strict=True):
        assert name == NAMES[int(class_id)]
        assert np.array_equal(mask, label_map.numpy() == class_id)
