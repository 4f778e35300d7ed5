#!/usr/bin/env bash
# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
# One FGASeg on the research sets msrc, labelmefacade and clothing together, measured on their validation splits and on
# CamVid, which it never sees.   cross_dataset.sh DATASETS_FOLDER MODEL_WITH_TEXT_TOWER OUT [MINUTES]
set -euo pipefail
datasets=$1 model=$2 out=$3 minutes=${4:-120}
here=$(cd "$(dirname "$0")" && pwd)
sets=(msrc labelmefacade clothing)
labelled=()
for name in "${sets[@]}"; do labelled+=("$name=$datasets/$name"); done
python "$here/train_words.py" --model "$model" --num_scenes 0 --labelled "${labelled[@]}" --minutes "$minutes" --output_dir "$out"
for name in "${sets[@]}" camvid; do
    ignored=255
    [ "$name" != camvid ] || ignored=11
    fgaseg evaluate --model "$out" --dataset "$datasets/$name" --class_names "$here/class_names/$name.txt" --ignored_ids "$ignored" --output "$out/$name.json"
done
