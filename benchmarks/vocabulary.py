# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Encodes a large vocabulary by a full-size text tower, and loads it from its file: time and memory.

    python benchmarks/vocabulary.py --num_names 10000

The model has the size of CLIP ViT-B/16 (a text tower of 12 layers of width 512) and random weights. Encoding and
loading run in processes of their own, whose memory is measured from outside.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from fgaseg_hf import (
    FGASegConfig,
    FGASegForSemanticSegmentation,
    FGASegProcessor,
    FGASegVocabulary,
    builtin_model_folder,
)

LIMIT_MIB = 2048
LIMIT_SECONDS = 1.0


def encode(folder: Path, num_names: int) -> dict[str, float]:
    """Encodes names and saves the vocabulary; returns how long encoding took."""
    processor = FGASegProcessor.from_pretrained(builtin_model_folder())
    tokenizer = processor.tokenizer
    special_ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    model = FGASegForSemanticSegmentation(FGASegConfig(text_config=special_ids)).eval()
    words = ["car", "house", "tree", "boat", "lamp", "cloud", "stone", "road", "river", "tower"]
    names = [f"{words[number % len(words)]} number {number:05d}" for number in range(num_names)]
    started = time.perf_counter()
    vocabulary = FGASegVocabulary(names).encode(model, processor)
    seconds = time.perf_counter() - started
    vocabulary.save(folder)
    return {"encoding_seconds": seconds}


def load(folder: Path) -> dict[str, float]:
    """Loads the vocabulary once, in a process that has done nothing else; returns how long it took."""
    started = time.perf_counter()
    vocabulary = FGASegVocabulary.load(folder)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"loading_seconds": seconds, "names": len(vocabulary.names), "files_mib": size / 2**20}


def run_apart(step: str, folder: Path, num_names: int) -> tuple[dict[str, float], float]:
    """Runs a step in a process of its own.

    Returns:
        What the step returned, and the process's highest resident memory in MiB, from the system's accounts.
    """
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--num_names", str(num_names)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The step {step!r} failed; see above.")
    # Linux counts in KiB, macOS in bytes.
    divisor = 2**20 if sys.platform == "darwin" else 2**10
    return json.loads(output.splitlines()[-1]), usage.ru_maxrss / divisor


def main() -> None:
    """Prints the figures as JSON; ends with an error if a limit is exceeded."""
    parser = argparse.ArgumentParser(description="Encodes and loads a large vocabulary.")
    parser.add_argument("--num_names", type=int, default=10_000)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--step", choices=["encode", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step is not None:
        step = encode(arguments.folder, arguments.num_names) if arguments.step == "encode" else load(arguments.folder)
        print(json.dumps(step))
        return

    with tempfile.TemporaryDirectory() as name:
        encoded, encoding_mib = run_apart("encode", Path(name), arguments.num_names)
        loaded, loading_mib = run_apart("load", Path(name), arguments.num_names)
    figures = {
        **encoded,
        "encoding_peak_mib": encoding_mib,
        **loaded,
        "loading_peak_mib": loading_mib,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n", encoding="utf-8")
    if encoding_mib > LIMIT_MIB or loaded["loading_seconds"] > LIMIT_SECONDS:
        raise SystemExit(f"Encoding shall need at most {LIMIT_MIB} MiB, and loading at most {LIMIT_SECONDS:g} s.")


if __name__ == "__main__":
    main()
