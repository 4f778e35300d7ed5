# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains the picture side of an FGASeg towards its text tower, asked as people ask: one word or many.

    python training/distillation/train_words.py --model runs/text --num_scenes 28000 --scene_seed 2101 \
        --labelled facades=../shared/datasets/facades coco=../shared/datasets/coco_sample \
        --photographs ../shared/datasets/free_photographs --opinions dense_classes.pt \
        --imagenet_ids imagenet_synsets.txt --minutes 90 --output_dir runs/words
    python training/distillation/train_words.py --model runs/words --image_size 256 --window_size 8 ...

A step draws how many words its pictures are asked for, from one to twenty; the more words, the fewer pictures. Words
are of one level a picture, synonyms stand in for names, things of the picture are often not asked for, and vectors of
words are moved a little, so that words near to those of training are understood too. Of the text tower, its last
projection alone learns, slowly and held where it was: a linear map, which words never shown go through as well. The
schedule is a cosine over the minutes; the saved model is the running mean of the weights.
"""

import copy
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import yaml
from asked_words import AskedWord, PictureSource, choose_words
from dense_classifier import load_dense_classes
from photograph_questions import ClassifiedPhotographs, LabelledPhotographs, imagenet_concepts
from picture_size import resize_pictures
from torch import nn
from word_losses import picture_loss
from wordnet_nouns import WordNetNouns

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script

WORD_TABLES = Path(__file__).with_name("photograph_words.yaml")
SCENES_FOLDER = Path(__file__).parent.parent / "scenes"
LOG_FILE, STATE_FILE = "training_log.jsonl", "state.pt"
# How many words are asked for, and how often.
NUM_WORDS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20)
NUM_WORDS_SHARES = (0.13, 0.12, 0.11, 0.08, 0.07, 0.07, 0.06, 0.06, 0.07, 0.06, 0.05, 0.07, 0.05)
# Words that the first map alone scores, beside those that are decoded: with few of these, and with many.
NUM_SCORED_BESIDE = (28, 64)
MANY_WORDS = 8
# A picture costs about what seven decoded words cost; a step, what twelve pictures of nine words do.
PICTURE_COST, STEP_COST = 7, 192
# How far words' vectors are moved at most, and how often.
WORD_NOISE, WORD_NOISE_SHARE = 0.55, 0.6
HARD_WORDS_SHARE, ALIGNMENT_SHARE = 0.45, 0.3
MEAN_DECAY = 0.999
# The text projection's rate as a share of the others', and how strongly it is held.
PROJECTION_RATE, PROJECTION_PULL = 0.3, 0.5


@dataclass
class WordTrainingArguments:
    """What is trained on what."""

    model: str | None = field(default=None, metadata={"help": "FGASeg with the text tower to train towards"})
    output_dir: str | None = field(default=None, metadata={"help": "where the model, its log and its state go"})
    image_size: int | None = field(default=None, metadata={"help": "side of the pictures, if not the model's"})
    window_size: int | None = field(
        default=None, metadata={"help": "side of the aggregation's windows in patches, if not the model's"}
    )
    num_scenes: int = field(default=28000, metadata={"help": "generated scenes; they take 130 KB of memory each"})
    scene_seed: int = field(default=2101, metadata={"help": "number of the scenes' data set"})
    labelled: list[str] = field(
        default_factory=list,
        metadata={"help": "data sets with label maps, each NAME=FOLDER_OR_ID, NAME as in photograph_words.yaml"},
    )
    photographs: str | None = field(default=None, metadata={"help": "data set of photographs without labels"})
    opinions: str | None = field(default=None, metadata={"help": "what dense_classifier.py wrote for them"})
    imagenet_ids: str | None = field(
        default=None, metadata={"help": "ImageNet's class ids, one a line, in the classifier's order"}
    )
    wordnet: str = field(default="/usr/share/wordnet", metadata={"help": "folder of WordNet's database files"})
    scene_share: float = field(default=0.72, metadata={"help": "how often a picture is a scene, beside the others"})
    photograph_share: float = field(default=0.15, metadata={"help": "how often it is one of --photographs"})
    minutes: float = field(default=90.0, metadata={"help": "length of the run and of the cosine"})
    max_steps: int | None = field(default=None, metadata={"help": "stop after so many steps all the same"})
    learning_rate: float = field(default=7e-4, metadata={"help": "AdamW's peak rate"})
    checkpoint_minutes: float = field(default=5.0, metadata={"help": "minutes between two checkpoints"})
    seed: int = field(default=21, metadata={"help": "of pictures and words"})

    def __post_init__(self) -> None:
        for name in ("model", "output_dir"):
            if getattr(self, name) is None:
                raise ValueError(f"--{name} is missing; see --help.")
        if self.photographs and not (self.opinions and self.imagenet_ids):
            raise ValueError("--photographs needs --opinions, what dense_classifier.py wrote, and --imagenet_ids.")
        if min(self.scene_share, self.photograph_share) <= 0:
            raise ValueError(
                f"--scene_share {self.scene_share} and --photograph_share {self.photograph_share} must be above 0."
            )
        if self.minutes <= 0:
            raise ValueError(f"--minutes is {self.minutes}; set it above 0.")


class WordTraining:
    """A run: its model, its running mean, its words and its pictures."""

    def __init__(self, options: WordTrainingArguments) -> None:
        self.options, self.output = options, Path(str(options.output_dir))
        self.model: Any = FGASegForSemanticSegmentation.from_pretrained(options.model, dtype=torch.float32)
        self.processor = FGASegProcessor.from_pretrained(str(options.model))
        if options.image_size is not None or options.window_size is not None:
            self.model = resize_pictures(self.model, options.image_size, options.window_size)
            side = self.model.config.image_size
            self.processor.image_processor.size = {"height": side, "width": side}
        self.sources, self.shares = load_sources(options, self.model.config.image_size)
        words = list(dict.fromkeys(word for source in self.sources for word in source.words()))
        self.place_of_word = {word: place for place, word in enumerate(words)}
        self.pooled = pool_words(self.model, self.processor, words)
        for name, weights in self.model.named_parameters():
            weights.requires_grad_(not name.startswith(("fgaseg.text_model.", "fgaseg.logit_scale")))
        self.model.train()
        self.mean_model = copy.deepcopy(self.model).eval()
        self.projection = self.model.fgaseg.text_projection.weight
        self.projection_before = self.projection.detach().clone()
        trained = [weights for weights in self.model.parameters() if weights.requires_grad]
        groups = [
            {
                "params": [weights for weights in trained if weights.dim() > 1 and weights is not self.projection],
                "weight_decay": 0.02,
            },
            {"params": [weights for weights in trained if weights.dim() <= 1], "weight_decay": 0.0},
            {"params": [self.projection], "weight_decay": 0.0, "rate": PROJECTION_RATE},
        ]
        self.trained = trained
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
        self.step, self.num_pictures, self.minutes = 0, 0, 0.0

    def run(self) -> None:
        """Trains to the end of the cosine, from the last checkpoint if there is one."""
        self.output.mkdir(parents=True, exist_ok=True)
        if (self.output / STATE_FILE).is_file():
            self._load()
        rows: list[tuple[float, int]] = []
        last, saved = time.monotonic(), self.minutes
        while self.minutes < self.options.minutes and self.step != self.options.max_steps:
            rows.append(self._step())
            now = time.monotonic()
            self.minutes, last = self.minutes + (now - last) / 60, now
            if self.step % 20 == 0:
                self._log(rows)
                rows = []
            if self.minutes - saved >= self.options.checkpoint_minutes:
                self._save()
                saved = self.minutes
        self._save()

    def _step(self) -> tuple[float, int]:
        random = np.random.default_rng([self.options.seed, self.step])
        done = min(self.minutes / self.options.minutes, 1.0)
        warmup = min(1.0, (self.step + 1) / 150)
        for group in self.optimizer.param_groups:
            rate = self.options.learning_rate * group.get("rate", 1.0)
            group["lr"] = rate * warmup * max(0.5 * (1 + math.cos(math.pi * done)), 0.003)
        num_decoded = int(random.choice(NUM_WORDS, p=NUM_WORDS_SHARES))
        batch = self.draw_batch(num_decoded, random)
        mines_hard_words = num_decoded >= 4 and random.random() < HARD_WORDS_SHARE
        loss = picture_loss(
            self.model, batch, num_decoded, mines_hard_words, with_alignment=random.random() < ALIGNMENT_SHARE
        )
        moved = (self.projection - self.projection_before).square().sum() / self.projection_before.square().sum()
        loss = loss + PROJECTION_PULL * moved
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.trained, 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        self._update_mean()
        self.num_pictures += len(batch["pixel_values"])
        return loss.item(), len(batch["pixel_values"])

    def draw_batch(self, num_decoded: int, random: np.random.Generator) -> dict[str, torch.Tensor]:
        """Draws a step's pictures and words, see `picture_loss`."""
        batch_size = int(np.clip(round(STEP_COST / (PICTURE_COST + num_decoded)), 6, 24))
        num_scored = num_decoded + NUM_SCORED_BESIDE[num_decoded >= MANY_WORDS]
        images, words = [], []
        for _ in range(batch_size):
            source = self.sources[int(random.choice(len(self.sources), p=self.shares))]
            drawn = source.draw(random)
            images.append(drawn.image)
            words.append(choose_words(drawn, num_decoded, num_scored, random))
        inputs = self.processor.image_processor(images, do_resize=False, return_tensors="pt")
        word_ids = torch.tensor([[self.place_of_word[word.word] for word in row] for row in words])
        return {
            "pixel_values": inputs["pixel_values"],
            "word_ids": word_ids,
            "text_embeddings": self._embed(word_ids, int(random.integers(2**31))),
            "targets": _stack_maps(words, "target"),
            "weights": _stack_maps(words, "weight"),
        }

    def _embed(self, word_ids: torch.Tensor, seed: int) -> torch.Tensor:
        """Words' vectors, (batch, words, dim), most of them moved a little in a random direction."""
        vectors = nn.functional.normalize(nn.functional.linear(self.pooled[word_ids], self.projection), dim=-1)
        generator = torch.Generator().manual_seed(seed)
        shape = (*vectors.shape[:2], 1)
        is_moved = torch.rand(shape, generator=generator) < WORD_NOISE_SHARE
        length = torch.rand(shape, generator=generator) * WORD_NOISE * is_moved
        direction = nn.functional.normalize(torch.randn(vectors.shape, generator=generator), dim=-1)
        return nn.functional.normalize(vectors + length * direction, dim=-1)

    @torch.no_grad()
    def _update_mean(self) -> None:
        decay = min(MEAN_DECAY, (self.step + 1) / (self.step + 20))
        for mean, value in zip(self.mean_model.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for mean, value in zip(self.mean_model.buffers(), self.model.buffers(), strict=True):
            mean.copy_(value)

    def _log(self, rows: list[tuple[float, int]]) -> None:
        row = {
            "step": self.step,
            "pictures": self.num_pictures,
            "loss": round(float(np.mean([loss for loss, _ in rows])), 4),
            "minutes": round(self.minutes, 2),
        }
        with (self.output / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        print(row, flush=True)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "mean": self.mean_model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "projection_before": self.projection_before,
            "progress": [self.step, self.num_pictures, self.minutes],
        }
        unfinished = self.output / (STATE_FILE + ".part")
        torch.save(state, unfinished)
        unfinished.replace(self.output / STATE_FILE)
        # A copy, so that the mean itself stays as precise as it is.
        copy.deepcopy(self.mean_model).half().save_pretrained(self.output)
        self.processor.save_pretrained(self.output)

    def _load(self) -> None:
        state = torch.load(self.output / STATE_FILE, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.projection_before = state["projection_before"]
        self.mean_model.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.num_pictures, self.minutes = state["progress"]


@torch.no_grad()
def pool_words(model: Any, processor: Any, words: Sequence[str], batch_size: int = 512) -> torch.Tensor:
    """The text tower's pooled states of words, (words, width), before its projection."""
    text_model, parts = model.fgaseg.text_model.eval(), []
    for start in range(0, len(words), batch_size):
        inputs = processor(text=list(words[start : start + batch_size]), return_tensors="pt")
        parts.append(
            text_model(input_ids=inputs["input_ids"], attention_mask=inputs.get("attention_mask")).pooler_output
        )
    return torch.cat(parts)


def load_sources(options: WordTrainingArguments, side: int) -> tuple[list[PictureSource], np.ndarray]:
    """Loads the pictures that the arguments name, and how often each kind is drawn."""
    tables = yaml.safe_load(WORD_TABLES.read_text(encoding="utf-8"))
    label_side = side // 2
    sources: list[tuple[PictureSource, float]] = []
    if options.num_scenes:
        # The scripts of the scenes lie in a folder of their own; at its end, so that nothing of theirs hides a library.
        sys.path.append(str(SCENES_FOLDER))
        from scene_questions import SceneQuestions

        scenes = SceneQuestions(options.num_scenes, options.scene_seed, tables["other_words"], side, label_side)
        sources.append((scenes, options.scene_share))
    for named in options.labelled:
        name, equals, path = named.partition("=")
        if not equals or "words" not in (table := tables.get(name, {})):
            known = ", ".join(name for name, table in tables.items() if "words" in table)
            raise ValueError(f"--labelled has {named!r}; give NAME=FOLDER_OR_ID with one of the names {known}.")
        rows = datasets.load_dataset(path, split="train")
        words, sky_id = table["words"], table.get("sky_id")
        photographs = LabelledPhotographs(rows, words, table["other_words"], sky_id, side, label_side)
        sources.append((photographs, table["share"]))
    if options.photographs is not None:
        nouns = WordNetNouns(options.wordnet)
        ids = Path(str(options.imagenet_ids)).read_text(encoding="utf-8").split()
        concepts = imagenet_concepts(nouns, ids, tables["broader_words"])
        rows = datasets.load_dataset(options.photographs, split="train")
        opinions = load_dense_classes(str(options.opinions))
        if len(opinions) != len(rows):
            raise ValueError(f"{options.opinions} is of {len(opinions)} pictures, but there are {len(rows)}.")
        classified = ClassifiedPhotographs(rows, opinions, concepts, side, label_side)
        sources.append((classified, options.photograph_share))
    if not sources:
        raise ValueError("There is nothing to train on: ask for scenes or name a data set.")
    shares = np.array([share for _, share in sources])
    return [source for source, _ in sources], shares / shares.sum()


def _stack_maps(words: list[list[AskedWord]], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.stack([getattr(word, name) for word in row]) for row in words]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as the arguments say."""
    (options,) = parse_arguments((WordTrainingArguments,), arguments, description=__doc__)
    torch.manual_seed(options.seed)
    WordTraining(options).run()


if __name__ == "__main__":
    run_script(main)
