# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures how a model answers to words on generated scenes: names, nouns, synonyms, few words, many, and absent ones.

    python training/scenes/measure_words.py --model src/fgaseg_hf/builtin_model --out words.json

The scenes are drawn on the spot from a seed that training never used. Nothing here depends on how the model was made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scene_composition import generate_scene
from scene_vocabulary import CLASS_NAMES, COLOURED_NOUNS, COLOURS
from scene_words import GROUPS, HELD_OUT_GROUPS, HELD_OUT_SYNONYMS, NATURAL_COLOURS, NOUNS, adjective_of, noun_of
from tqdm import tqdm

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor

SPLITS = {"seen": "validation_seen", "unseen": "validation_unseen"}
FEW = (1, 2, 3, 6)
NUM_OTHERS = 8
# Groups and colours are many questions a picture, so only some pictures are asked for them.
GROUPS_EVERY = 4
NOUN_OF_CLASS = np.array([NOUNS.index(noun_of(name)) for name in CLASS_NAMES])


class Counts:
    """Intersections and unions of classes, summed over pictures, and what single questions had."""

    def __init__(self) -> None:
        self.intersection: dict[Any, int] = defaultdict(int)
        self.union: dict[Any, int] = defaultdict(int)
        self.present: set[Any] = set()
        self.questions: list[float] = []

    def add(self, key: Any, predicted: np.ndarray, true: np.ndarray) -> None:
        """Counts a class in a picture by its masks."""
        intersection, union = int((predicted & true).sum()), int((predicted | true).sum())
        self.intersection[key] += intersection
        self.union[key] += union
        if true.any():
            self.present.add(key)
            self.questions.append(intersection / union)

    def mean_iou(self) -> float:
        """Mean over the classes that occur."""
        return float(np.mean([self.intersection[key] / self.union[key] for key in self.present]))

    def summary(self) -> dict[str, float]:
        """Three means: over classes, over questions (a name in a picture), over pixels."""
        pixels = sum(self.intersection.values()) / max(sum(self.union.values()), 1)
        values = {"classes": self.mean_iou(), "questions": float(np.mean(self.questions)), "pixels": pixels}
        return {name: round(100 * value, 2) for name, value in values.items()}


class Calibration:
    """Ten bins of probability, each with how often it was right."""

    def __init__(self) -> None:
        self.count, self.sum, self.right = np.zeros(10), np.zeros(10), np.zeros(10)

    def add(self, probabilities: np.ndarray, true: np.ndarray) -> None:
        """Counts the pixels of a class."""
        bins = np.minimum((probabilities * 10).astype(int), 9).ravel()
        self.count += np.bincount(bins, minlength=10)
        self.sum += np.bincount(bins, probabilities.ravel(), minlength=10)
        self.right += np.bincount(bins, true.ravel(), minlength=10)

    def summary(self) -> dict[str, Any]:
        """Expected calibration error in per cent, and the bins as (mean probability, share that was right)."""
        filled = self.count > 0
        gap = np.abs(self.sum - self.right)[filled].sum() / self.count.sum()
        rows = [
            [round(float(self.sum[i] / self.count[i]), 3), round(float(self.right[i] / self.count[i]), 3)]
            for i in np.flatnonzero(filled)
        ]
        return {"error": round(100 * float(gap), 2), "bins": rows}


class Questioner:
    """Asks a model for words in pictures; each word is encoded once."""

    def __init__(self, folder: str) -> None:
        self.model: Any = FGASegForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = FGASegProcessor.from_pretrained(folder)
        self.embeddings: dict[str, torch.Tensor] = {}

    def encode(self, words: Sequence[str]) -> torch.Tensor:
        """Returns (words, dim)."""
        new = [word for word in dict.fromkeys(words) if word not in self.embeddings]
        for start in range(0, len(new), 256):
            inputs = self.processor(text=new[start : start + 256], return_tensors="pt")
            rows = self.model.get_text_embeddings(inputs["input_ids"], inputs.get("attention_mask"))
            self.embeddings |= dict(zip(new[start : start + 256], rows, strict=True))
        return torch.stack([self.embeddings[word] for word in words])

    def probabilities(self, pixels: torch.Tensor, words: Sequence[str], size: tuple[int, int]) -> np.ndarray:
        """Returns (words, height, width)."""
        logits = self.model(pixel_values=pixels, text_embeddings=self.encode(words)).logits.float()
        logits = torch.nn.functional.interpolate(logits.clamp(min=-50), size=size, mode="bilinear", align_corners=False)
        return logits[0].sigmoid().numpy()


@torch.no_grad()
def measure(folder: str, num_pictures: int, seed: int, size: int) -> dict[str, Any]:
    """Returns every figure of both splits."""
    questioner = Questioner(folder)
    return {
        short: _measure_split(questioner, split, num_pictures, seed, size, short) for short, split in SPLITS.items()
    }


def _measure_split(
    questioner: Questioner, split: str, num_pictures: int, seed: int, size: int, short: str
) -> dict[str, Any]:
    counts: dict[str, Counts] = defaultdict(Counts)
    none: dict[str, list[float]] = defaultdict(list)
    calibration: dict[str, Calibration] = defaultdict(Calibration)
    for index in tqdm(range(num_pictures), desc=short):
        picture, labels = generate_scene(seed * 2**32 + index, split, size)
        rng = np.random.default_rng([seed, index])
        pixels = questioner.processor.image_processor(picture, return_tensors="pt")["pixel_values"]
        present = [int(label) for label in np.unique(labels)]

        def ask(words: Sequence[str], pixels: torch.Tensor = pixels, shape: Any = labels.shape) -> np.ndarray:
            return questioner.probabilities(pixels, words, shape)

        _ask_levels(ask, counts, calibration, labels, present, rng)
        _ask_all(ask, counts["all names"], labels, present)
        _ask_few(ask, counts, calibration, labels, present, rng)
        if index % GROUPS_EVERY == 0:
            _ask_groups(ask, counts, labels)
        _ask_absent(ask, none, present, rng)
    return {
        "iou": {name: count.summary() for name, count in counts.items()},
        "none": {name: round(100 * float(np.mean(shares)), 2) for name, shares in none.items()},
        "calibration": {name: bins.summary() for name, bins in calibration.items()},
    }


def _with_others(own: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """Adds others to a picture's own classes."""
    others = rng.permutation([index for index in range(count) if index not in set(own)])[:NUM_OTHERS]
    return [*own, *(int(index) for index in others)]


def _ask_levels(
    ask: Any,
    counts: dict[str, Counts],
    calibration: dict[str, Calibration],
    labels: np.ndarray,
    present: list[int],
    rng: np.random.Generator,
) -> None:
    """The picture's words and eight others: names, nouns, synonyms, coloured synonyms."""
    nouns = NOUN_OF_CLASS[labels]
    synonyms = [words[int(rng.integers(len(words)))] for words in (HELD_OUT_SYNONYMS[noun] for noun in NOUNS)]
    name_ids = _with_others(present, len(CLASS_NAMES), rng)
    noun_ids = _with_others([int(noun) for noun in np.unique(nouns)], len(NOUNS), rng)

    def coloured(index: int) -> str:
        name = CLASS_NAMES[index]
        adjective, synonym = adjective_of(name), synonyms[NOUN_OF_CLASS[index]]
        return f"{adjective} {synonym}" if adjective else name

    questions = {
        "names": (name_ids, [CLASS_NAMES[index] for index in name_ids], labels),
        "coloured synonyms": (name_ids, [coloured(index) for index in name_ids], labels),
        "nouns": (noun_ids, [NOUNS[index] for index in noun_ids], nouns),
        "synonyms": (noun_ids, [synonyms[index] for index in noun_ids], nouns),
    }
    for name, (ids, words, truth) in questions.items():
        probabilities = ask(words)
        predicted = np.array(ids)[probabilities.argmax(axis=0)]
        for place, key in enumerate(ids):
            counts[name].add(key, predicted == key, truth == key)
            if name == "names":
                calibration["names"].add(probabilities[place], truth == key)


def _ask_all(ask: Any, counts: Counts, labels: np.ndarray, present: list[int]) -> None:
    """All names at once; the model keeps as many as its configuration says."""
    predicted = ask(CLASS_NAMES).argmax(axis=0)
    for key in {*present, *(int(index) for index in np.unique(predicted))}:
        counts.add(key, predicted == key, labels == key)


def _ask_few(
    ask: Any,
    counts: dict[str, Counts],
    calibration: dict[str, Calibration],
    labels: np.ndarray,
    present: list[int],
    rng: np.random.Generator,
) -> None:
    """One, two, three, six of the picture's names; a pixel is a word's where its probability is at least a half."""
    order = [int(index) for index in rng.permutation(present)]
    for number in FEW:
        ids = order[:number]
        probabilities = ask([CLASS_NAMES[index] for index in ids])
        best = probabilities.argmax(axis=0)
        for place, key in enumerate(ids):
            is_here = (best == place) & (probabilities[place] >= 0.5)
            counts[f"{number} at 0.5"].add(key, is_here, labels == key)
            calibration[f"{number}"].add(probabilities[place], labels == key)


def _ask_groups(ask: Any, counts: dict[str, Counts], labels: np.ndarray) -> None:
    """Words for several nouns at once, and colours alone, each asked by itself where it is there."""
    nouns = NOUN_OF_CLASS[labels]
    for name, groups in (("groups at 0.5", GROUPS), ("groups never shown at 0.5", HELD_OUT_GROUPS)):
        for word, (certain, uncertain) in groups.items():
            truth = np.isin(nouns, [NOUNS.index(noun) for noun in certain])
            if truth.any():
                known = ~np.isin(nouns, [NOUNS.index(noun) for noun in uncertain])
                counts[name].add(word, (ask([word])[0] >= 0.5) & known, truth & known)
    colours_here = {adjective_of(CLASS_NAMES[int(label)]) for label in np.unique(labels)} & set(COLOURS)
    for colour in sorted(str(colour) for colour in colours_here)[:2]:
        truth = np.isin(labels, [i for i, name in enumerate(CLASS_NAMES) if adjective_of(name) == colour])
        plain = [i for i, name in enumerate(CLASS_NAMES) if adjective_of(name) in COLOURS]
        natural = [i for i, name in enumerate(CLASS_NAMES) if noun_of(name) not in NATURAL_COLOURS[colour]]
        known = np.isin(labels, plain) | (np.isin(labels, natural) & ~np.isin(NOUN_OF_CLASS[labels], _COLOURED))
        counts["colours at 0.5"].add(colour, (ask([colour])[0] >= 0.5) & known, truth & known)


_COLOURED = [NOUNS.index(noun) for noun in COLOURED_NOUNS]


def _ask_absent(ask: Any, none: dict[str, list[float]], present: list[int], rng: np.random.Generator) -> None:
    """A word that is not there, by itself."""
    absent = [index for index in range(len(CLASS_NAMES)) if index not in set(present)]
    nouns_here = {noun_of(CLASS_NAMES[index]) for index in present}
    nouns = [noun for noun in NOUNS if noun not in nouns_here]
    synonyms = [word for noun in nouns for word in HELD_OUT_SYNONYMS[noun]]
    for kind, words in (
        ("name", [CLASS_NAMES[index] for index in absent]),
        ("noun", nouns),
        ("synonym", synonyms),
        ("no word of the scenes", OTHER_WORDS),
    ):
        none[kind].append(float((ask([words[int(rng.integers(len(words)))]])[0] < 0.5).mean()))


#: Things that no scene shows, and that training on scenes does not name.
OTHER_WORDS = ("accordion", "rhinoceros", "saxophone", "lighthouse keeper", "wardrobe", "hot dog", "stapler", "waffle")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of an FGASeg")
    parser.add_argument("--num_pictures", type=int, default=200, help="pictures a split (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=977, help="number of the data set (default: %(default)s)")
    parser.add_argument("--size", type=int, default=192, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    if options.num_pictures < 1:
        print(f"measure_words.py: --num_pictures is {options.num_pictures}; ask for 1 or more.", file=sys.stderr)
        return 2
    started = time.monotonic()
    figures = measure(options.model, options.num_pictures, options.seed, options.size)
    figures["settings"] = {"num_pictures": options.num_pictures, "seed": options.seed, "size": options.size}
    print(format_table(figures))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s")
    return 0


def format_table(figures: dict[str, Any]) -> str:
    """Returns the figures as a table for people."""
    rows = ["| asked for | seen | unseen |", "| --- | ---: | ---: |"]
    seen, unseen = figures["seen"], figures["unseen"]
    for name in seen["iou"]:
        cells = [f"{split['iou'][name]['classes']:.1f} %" for split in (seen, unseen)]
        if "at 0.5" in name:
            cells = [
                f"{cell} ({split['iou'][name]['questions']:.1f}, {split['iou'][name]['pixels']:.1f})"
                for cell, split in zip(cells, (seen, unseen), strict=True)
            ]
        rows.append(f"| {name} | {cells[0]} | {cells[1]} |")
    rows += [f"| absent {kind}: none | {seen['none'][kind]} % | {unseen['none'][kind]} % |" for kind in seen["none"]]
    for kind in seen["calibration"]:
        errors = [f"{split['calibration'][kind]['error']} %" for split in (seen, unseen)]
        rows.append(f"| calibration error, {kind} | {errors[0]} | {errors[1]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
