# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures an FGASeg model on one split of a segmentation data set; see [`fgaseg_hf.evaluation.evaluate`].

python training/evaluate.py --model runs/camvid/best --dataset FOLDER --split validation --output camvid.json
accelerate launch --multi_gpu --num_processes 2 training/evaluate.py --model ... --protocol published
"""

from fgaseg_hf.evaluation.command_line_arguments import run_script
from fgaseg_hf.evaluation.evaluate import main

if __name__ == "__main__":
    run_script(main)
