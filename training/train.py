# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains FGASeg, on any number of processes; see [`fgaseg_hf.training.train`].

python training/train.py --config training/configs/camvid_small.yaml --dataset FOLDER --output_dir runs/camvid
accelerate launch training/train.py --config training/configs/coco_stuff_vitb16_384.yaml --output_dir runs/coco_stuff
"""

from fgaseg_hf.evaluation.command_line_arguments import run_script
from fgaseg_hf.training.train import main

if __name__ == "__main__":
    run_script(main)
