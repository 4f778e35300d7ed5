# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How much memory a large picture takes from its file to its overlay, in bytes a pixel above the model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

# Everything small is done once before, so that what is loaded and compiled then does not count.
PROGRAM = """
import resource, sys, threading
import numpy as np
from PIL import Image
from tiny_models import tiny_model, tiny_processor
from fgaseg_hf.inference.segmenter import Segmenter

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

Image.MAX_IMAGE_PIXELS = None
segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
segmenter(np.zeros((64, 64, 3), np.uint8), ["sky", "car", "tree"]).overlay()
before, peak, done = resident(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.01):
        peak = max(peak, resident())

watcher = threading.Thread(target=watch)
watcher.start()
result = segmenter(sys.argv[1], ["sky", "car", "tree"])
overlay = result.overlay()
done.set()
watcher.join()
sys.stdout.write(str((peak - before) / (overlay.width * result.size[1])))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
def test_bytes_a_pixel_of_a_large_picture(tmp_path: Path) -> None:
    """The picture, its label map, its confidence and its overlay are 12 bytes a pixel by themselves."""
    picture = tmp_path / "large.png"
    Image.linear_gradient("L").resize((9000, 6000)).convert("RGB").save(picture, compress_level=1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(picture)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    bytes_a_pixel = float(done.stdout.strip().splitlines()[-1])
    assert bytes_a_pixel < 15, bytes_a_pixel
