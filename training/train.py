# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains FGASeg, on any number of processes; see [`fgaseg_hf.training.train`], which this is, from a clone.

python training/train.py --config camvid_small --dataset FOLDER --output_dir runs/camvid
accelerate launch --multi_gpu training/train.py --config coco_stuff_vitb16_384 --output_dir runs/coco_stuff
"""

from fgaseg_hf.evaluation.command_line_arguments import run_script
from fgaseg_hf.training.train import main

if __name__ == "__main__":
    run_script(main)
