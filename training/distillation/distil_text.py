# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Distils a sentence encoder into the text tower of an FGASeg: a small tower that knows English.

    python training/distillation/distil_text.py --model src/fgaseg_hf/builtin_model --teacher MINILM_FOLDER \
        --wordnet /usr/share/wordnet --names names.txt --output_dir runs/text

The teacher's vectors are brought to the model's projection size by their principal components. With --names, words that
the model knows, the space is turned so that these lie near where they lay, and the picture side starts from there. The
output is the same FGASeg with the new tower and tokenizer, and the teacher's vectors of all phrases, which
`training/distillation/train_words.py` trains the picture side towards. About a quarter of an hour of one core.
"""

import json
import math
import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from phrase_lists import build_phrase_lists, count_words, read_names
from safetensors.torch import save_file
from sentence_teacher import PhraseTeacher, Projection, SentenceEncoder
from text_student import TextStudent
from tqdm.auto import tqdm
from word_tokenizer import learn_word_tokenizer
from wordnet_nouns import WordNetNouns

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation, FGASegProcessor
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script

TEMPLATES = {
    "{}": 0.3,
    "A photo of a {} in the scene": 0.4,
    "a photo of a {}": 0.12,
    "a {}": 0.08,
    "{} in the scene": 0.05,
    "a picture of the {}": 0.05,
}
MEASURED_TEMPLATE = "A photo of a {} in the scene"
# How often a list is drawn from; one's own lists share what the names have.
LIST_WEIGHTS = {"names": 0.4, "nouns": 0.24, "plurals": 0.06, "compounds": 0.1, "adjectives": 0.04, "pairs": 0.16}
# What a word of a list counts where the tokenizer is learned.
WORD_COUNTS = {"names": 30, "nouns": 6, "plurals": 3, "compounds": 1, "adjectives": 3, "pairs": 1}
PEAK_RATE = 1.5e-3


@dataclass
class TextDistillationArguments:
    """What is distilled into what."""

    model: str | None = field(default=None, metadata={"help": "FGASeg whose text tower is replaced: folder or Hub id"})
    teacher: str | None = field(default=None, metadata={"help": "sentence encoder: folder or Hub id"})
    wordnet: str = field(default="/usr/share/wordnet", metadata={"help": "folder of WordNet's database files"})
    names: str | None = field(default=None, metadata={"help": "words that the model knows already, one a line"})
    lists: list[str] = field(default_factory=list, metadata={"help": "further files of names to be known well"})
    adjectives: list[str] = field(
        default_factory=lambda: (
            ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black"]
            + ["white", "gray", "turquoise", "striped", "dotted", "checkered"]
        ),
        metadata={"help": "adjectives that must not be lost beside their noun"},
    )
    output_dir: str | None = field(default=None, metadata={"help": "where the FGASeg with the new tower goes"})
    vocab_size: int = field(default=16000, metadata={"help": "tokens of the new tokenizer"})
    hidden_size: int = field(default=192, metadata={"help": "width of the tower"})
    num_layers: int = field(default=2, metadata={"help": "blocks of the tower"})
    max_steps: int = field(default=1300, metadata={"help": "steps, and length of the cosine"})
    batch_size: int = field(default=256, metadata={"help": "phrases a step"})
    num_held_out: int = field(default=250, metadata={"help": "nouns, and compounds, kept out for measuring"})
    seed: int = field(default=0, metadata={"help": "of weights and phrases"})

    def __post_init__(self) -> None:
        for name in ("model", "teacher", "output_dir"):
            if getattr(self, name) is None:
                raise ValueError(f"--{name} is missing; see --help.")
        if self.max_steps < 1 or self.batch_size < 1:
            raise ValueError(f"--max_steps {self.max_steps} and --batch_size {self.batch_size} must be 1 or more.")


@dataclass
class Phrases:
    """Phrases with the vectors that they shall get.

    Attributes:
        lists: Phrases by list.
        vectors: Of each phrase, (dim,).
        held_out: Phrases that training does not see, by list.
    """

    lists: dict[str, list[str]]
    vectors: dict[str, torch.Tensor]
    held_out: dict[str, list[str]]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Distils as the arguments say; returns what was measured."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    (options,) = parse_arguments((TextDistillationArguments,), arguments, description=__doc__)
    output = Path(options.output_dir)
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"There is something in {output} already; name a new folder.")
    torch.manual_seed(options.seed)
    model = FGASegForSemanticSegmentation.from_pretrained(options.model, dtype=torch.float32).eval()
    processor = FGASegProcessor.from_pretrained(options.model)
    phrases = teach_phrases(options, model, processor)
    counts = count_words(phrases.lists, WORD_COUNTS)
    for template in TEMPLATES:
        for word in re.findall(r"[a-z]+", template.lower()):
            counts[word] += 1000
    tokenizer = learn_word_tokenizer(counts, options.vocab_size)
    words = [word for word in counts if word in phrases.vectors]
    rows = torch.stack([phrases.vectors[word] for word in words])
    student = TextStudent(tokenizer, words, rows, options.hidden_size, options.num_layers)
    figures = train(student, phrases, options)
    joined = with_text_tower(model, student)
    joined.save_pretrained(output)
    FGASegProcessor(processor.image_processor, tokenizer, prompt_templates=processor.prompt_templates).save_pretrained(
        output
    )
    save_vectors(phrases, output)
    (output / "distillation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    return figures


def teach_phrases(options: TextDistillationArguments, model: Any, processor: Any) -> Phrases:
    """Collects the phrases, and computes the teacher's vectors at the model's projection size."""
    nouns = WordNetNouns(options.wordnet)
    encoder = SentenceEncoder(str(options.teacher))
    teacher = PhraseTeacher(encoder, nouns, adjectives=options.adjectives)
    known = [] if options.names is None else read_names(Path(options.names))
    own = {"names": [*known, *options.adjectives, *(name for path in options.lists for name in read_names(Path(path)))]}
    # A WordPiece vocabulary stands in the order of frequency.
    vocabulary = sorted(encoder.tokenizer.get_vocab().items(), key=lambda item: item[1])
    lists = build_phrase_lists(nouns, [word for word, _ in vocabulary], own, options.adjectives, seed=options.seed)
    everything = list(dict.fromkeys(phrase for phrases in lists.values() for phrase in phrases))
    raw = torch.cat(
        [
            teacher.encode(everything[start : start + 1000])
            for start in tqdm(range(0, len(everything), 1000), desc="teacher")
        ]
    )
    place = {phrase: index for index, phrase in enumerate(everything)}
    parts = [[place[phrase] for phrase in lists[name]] for name in ("names", "nouns") if lists[name]]
    weights = torch.cat([torch.full((len(part),), 1 / len(part)) for part in parts])
    projection = Projection(raw[sum(parts, [])], weights, model.config.projection_dim)
    if known:
        inputs = processor(text=known, return_tensors="pt")
        with torch.no_grad():
            targets = model.get_text_embeddings(inputs["input_ids"], inputs.get("attention_mask"))
        projection.turn_towards(raw[[place[name] for name in known]], targets)
    print(f"{len(everything)} phrases; the components keep {projection.kept_variance:.1%} of the variance")
    own_words = set(lists["names"])
    generator = random.Random(options.seed)
    held_out = {}
    for name in ("nouns", "compounds"):
        pool = [phrase for phrase in lists[name] if phrase not in own_words]
        held_out[name] = generator.sample(pool, min(options.num_held_out, len(pool) // 4))
    return Phrases(lists, dict(zip(everything, projection(raw), strict=True)), held_out)


def train(student: TextStudent, phrases: Phrases, options: TextDistillationArguments) -> dict[str, Any]:
    """Teaches the tower; returns what it keeps of the teacher on phrases that it never saw."""
    hidden = {phrase for held in phrases.held_out.values() for phrase in held}
    pools = {
        name: [p for p in phrases_of_list if p not in hidden and not hidden & set(p.split())]
        for name, phrases_of_list in phrases.lists.items()
    }
    names = [name for name in pools if pools[name] and name in LIST_WEIGHTS]
    table = student.token_table()
    decayed = [weights for weights in student.parameters() if weights.dim() > 1 and weights is not table]
    others = [weights for weights in student.parameters() if weights.dim() <= 1 or weights is table]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    generator = random.Random(options.seed)
    started, warmup = time.monotonic(), max(1, options.max_steps // 20)
    losses: list[float] = []
    progress = tqdm(range(options.max_steps), desc="student", dynamic_ncols=True)
    for step in progress:
        for group in optimizer.param_groups:
            decay = 0.5 * (1 + math.cos(math.pi * step / options.max_steps))
            group["lr"] = PEAK_RATE * min(1.0, (step + 1) / warmup) * decay
        chosen = [
            generator.choice(pools[name])
            for name in generator.choices(names, [LIST_WEIGHTS[name] for name in names], k=options.batch_size)
        ]
        templates = generator.choices(list(TEMPLATES), list(TEMPLATES.values()), k=len(chosen))
        vectors = student([t.format(phrase) for t, phrase in zip(templates, chosen, strict=True)])
        targets = torch.stack([phrases.vectors[phrase] for phrase in chosen])
        loss = (1 - (vectors * targets).sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            progress.set_postfix(loss=sum(losses[-50:]) / len(losses[-50:]))
    figures: dict[str, Any] = {name: keeps_neighbours(student, phrases, name) for name in phrases.held_out}
    return figures | {"loss": round(sum(losses[-50:]) / len(losses[-50:]), 4), "minutes": _minutes_since(started)}


@torch.no_grad()
def keeps_neighbours(student: TextStudent, phrases: Phrases, name: str, num_neighbours: int = 1200) -> dict[str, float]:
    """How near phrases that were never seen come to the teacher's, and whether their nearest known name stays so."""
    student.eval()
    held, known = phrases.held_out[name], phrases.lists["names"][:num_neighbours]
    if not held or not known:
        return {}
    encode = [torch.stack([phrases.vectors[phrase] for phrase in part]) for part in (held, known)]
    own = [
        torch.cat([student([MEASURED_TEMPLATE.format(p) for p in part[k : k + 256]]) for k in range(0, len(part), 256)])
        for part in (held, known)
    ]
    nearest = (encode[0] @ encode[1].T).argmax(dim=1)
    ranks = (own[0] @ own[1].T).topk(min(5, len(known)), dim=1).indices == nearest[:, None]
    one_token = [student.is_one_token(phrase) for phrase in held]
    student.train()
    return {
        "phrases": len(held),
        "one_token": round(sum(one_token) / len(held), 3),
        "cosine": round(float((own[0] * encode[0]).sum(dim=1).mean()), 3),
        "nearest_stays": round(float(ranks[:, 0].float().mean()), 3),
        "nearest_among_five": round(float(ranks.any(dim=1).float().mean()), 3),
    }


def with_text_tower(model: Any, student: TextStudent) -> FGASegForSemanticSegmentation:
    """Returns the model with another text tower; all else is as it was."""
    fields = {
        name: value
        for name, value in model.config.to_dict().items()
        if name not in ("architectures", "dtype", "model_type", "transformers_version", "vocabulary_key")
    }
    joined = FGASegForSemanticSegmentation(FGASegConfig(**fields | {"text_config": student.config.to_dict()}))
    joined.fgaseg.text_model.load_state_dict(student.text_model.state_dict())
    joined.fgaseg.text_projection.load_state_dict(student.text_projection.state_dict())
    kept = {
        name: weights
        for name, weights in model.state_dict().items()
        if not name.startswith(("fgaseg.text_model.", "fgaseg.text_projection."))
    }
    joined.load_state_dict(kept, strict=False)
    return joined.eval()


def save_vectors(phrases: Phrases, folder: Path) -> None:
    """Writes the teacher's vectors, and in a text file what each row is."""
    names = list(phrases.vectors)
    save_file({"vectors": torch.stack([phrases.vectors[name] for name in names])}, folder / "phrases.safetensors")
    (folder / "phrases.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def _minutes_since(started: float) -> float:
    return round((time.monotonic() - started) / 60, 1)


if __name__ == "__main__":
    run_script(main)
