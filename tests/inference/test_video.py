# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Videos in, videos out: each frame once, of one size, and labels that are the segmenter's."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from test_command_line import refused
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf import Segmenter
from fgaseg_hf.inference.video import segment_video


def test_a_video_keeps_its_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    source, target, track = tmp_path / "in.mp4", tmp_path / "out.mp4", tmp_path / "labels.jsonl"
    generator = np.random.default_rng(0)
    with av.open(str(source), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(7):
            blocks = Image.fromarray(generator.integers(0, 256, (3, 4, 3), dtype=np.uint8))
            picture = blocks.resize((64, 48), Image.Resampling.BICUBIC)
            file.mux(stream.encode(av.VideoFrame.from_image(picture)))
        file.mux(stream.encode())
    frames = list(segment_video(segmenter, source, CLASS_NAMES, target, every=3, track=track))
    assert [frame.number for frame in frames] == list(range(7))
    assert len({id(frame.result) for frame in frames}) == 3
    with av.open(str(source)) as file:
        pictures = [frame.to_image() for frame in file.decode(video=0)]
    with av.open(str(target)) as file:
        shown = [frame.to_image() for frame in file.decode(video=0)]
    assert len(shown) == 7
    assert len({frame.size for frame in shown}) == 1
    assert shown[0].height > 48
    lines = [json.loads(line) for line in track.read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == [0, 3, 6]
    for line in lines:
        expected = segmenter(pictures[line["frame"]], CLASS_NAMES)
        assert set(line["masks"]) == set(expected.found)
        for name, packed in line["masks"].items():
            assert (coco_mask.decode(packed) == expected[name].mask).mean() > 0.998
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "labels.jsonl", "out.mp4"]
    source.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"in\.mp4"):
        list(segment_video(segmenter, source, CLASS_NAMES, target))


def test_bad_words_of_the_command(tmp_path: Path) -> None:
    assert "no/such.mp4" in refused("video", "no/such.mp4", "--labels", "sky", "--output", tmp_path / "out.mp4")
    (tmp_path / "out.mp4").write_bytes(b"mine")
    assert "--overwrite" in refused("video", "no/such.mp4", "--labels", "sky", "--output", tmp_path / "out.mp4")
