# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`background="auto"`: common names stand beside the words that were asked for, and answer "none of these".

Maps that were trained to rank words, such as CLIP's own, say nothing about a single word: something has to be the
likeliest. Rivals that nobody has to think of give it something to be likelier than.
"""

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .phrases import normalise_phrase
from .text_encoding import FGASegTextEncoding, encode_class_names

#: What `background` is set to for rivals, and what they are answered as.
AUTOMATIC_BACKGROUND = "auto"
NONE_OF_THESE = "none of these"

#: What most pictures are made of, and what is often in them: names that several benchmarks share, commonest first.
# fmt: off
COMMON_NAMES: tuple[str, ...] = (
    "wall", "sky", "building", "tree", "floor", "grass", "road", "person", "ceiling", "water", "ground", "plant",
    "mountain", "sea", "sand", "snow", "rock", "pavement", "car", "table", "chair", "window", "door", "bed", "couch",
    "cabinet", "curtain", "river", "hill", "field", "fence", "house", "food", "dog", "cat", "horse", "cow", "sheep",
    "bird", "boat", "bus", "truck", "train", "airplane", "bicycle", "motorcycle", "sign", "flower", "bush", "path",
    "bridge", "stairs", "roof", "tower", "pole", "bench", "lamp", "book", "bottle", "cup", "plate", "bowl", "fruit",
    "vegetable", "bread", "cake", "clothes", "shoe", "hat", "bag", "umbrella", "ball", "toy", "television",
    "computer", "telephone", "clock", "mirror", "picture frame", "shelf", "box", "paper", "towel", "pillow",
    "blanket", "carpet", "sink", "toilet", "bathtub", "oven", "refrigerator", "counter", "basket", "vase",
    "traffic light", "railing", "tent", "flag", "kite", "balloon", "statue", "fountain", "fish", "elephant", "bear",
    "insect", "cloud", "light", "railroad", "machine", "tool", "musical instrument",
)
# fmt: on

# A name is too near to what was asked if it is nearer than all but this share of the common names are to each other.
NEAR_SHARE = 0.02

_encodings: "weakref.WeakKeyDictionary[nn.Module, FGASegTextEncoding]" = weakref.WeakKeyDictionary()


def rival_places(
    words: Sequence[str],
    word_embeddings: torch.Tensor,
    rivals: Sequence[str],
    rival_embeddings: torch.Tensor,
    max_rivals: int | None = None,
) -> list[int]:
    """Chooses the rivals that mean something else than every word that was asked for.

    A rival goes where all of its words stand in a word that was asked for or the other way round ("car" beside "red
    car"), and where its text is nearer to one than `NEAR_SHARE` of all pairs of rivals are. Similarities are of
    embeddings less the rivals' mean, since those of one text tower have much in common.

    Args:
        words: What was asked for.
        word_embeddings: (words, dim), unit rows.
        rivals: Names, commonest first.
        rival_embeddings: (rivals, dim), unit rows.
        max_rivals: The most to choose; all if not given.

    Returns:
        Places of the chosen among `rivals`, in order.
    """
    mean = rival_embeddings.mean(dim=0)
    asked, others = (
        nn.functional.normalize(rows.float() - mean, dim=-1) for rows in (word_embeddings, rival_embeddings)
    )
    pairs = (others @ others.T)[torch.triu_indices(len(others), len(others), offset=1).unbind()]
    limit = pairs.quantile(1 - NEAR_SHARE) if pairs.numel() else torch.tensor(1.0)
    is_near = (asked @ others.T).amax(dim=0) > limit
    asked_words = [set(normalise_phrase(word).split()) for word in words]
    chosen = []
    for place, rival in enumerate(rivals):
        own = set(normalise_phrase(rival).split())
        if not is_near[place] and not any(own <= asked or asked <= own for asked in asked_words):
            chosen.append(place)
    return chosen[:max_rivals]


def add_rivals(
    vocabulary: Any,
    model: Any,
    processor: Any,
    rivals: Sequence[str] = COMMON_NAMES,
    label: str = NONE_OF_THESE,
    max_rivals: int | None = 64,
) -> Any:
    """Adds common names to a vocabulary, all of them answered as one label, and encodes it.

    The rivals are encoded once a model and kept. They cost what as many words cost; `config.num_kept_classes` bounds
    that further.

    Args:
        vocabulary: The `FGASegVocabulary` that is asked for; its `background` is replaced.
        model: A `FGASegModel` or `FGASegForSemanticSegmentation`.
        processor: The checkpoint's `FGASegProcessor`.
        rivals: Names to choose from, commonest first.
        label: What they are answered as.
        max_rivals: The most to add.

    Returns:
        An encoded `FGASegVocabulary` whose last label is `label`. With a softmax over all words there is no other rule.
        Where each word has a probability of its own, the vocabulary's threshold holds too.

    Raises:
        ValueError: `label` is one of the vocabulary's labels, or the text does not suit the model.
    """
    asked = replace(vocabulary, background=None)
    if normalise_phrase(label) in {normalise_phrase(answer) for answer in asked.labels}:
        raise ValueError(f"{label!r} is what is answered where none of the labels is: rename that label.")
    asked = asked.encode(model, processor)
    known = _encode_rivals(asked, model, processor, rivals)
    places = rival_places(asked.phrases, asked.embeddings, known.phrases, known.embeddings, max_rivals)
    chosen = [known.phrases[place] for place in places]
    encoding = asked.encoding
    assert encoding is not None  # it was encoded above
    joined = replace(
        encoding,
        phrases=[*encoding.phrases, *chosen],
        embeddings=torch.cat((encoding.embeddings, known.embeddings[places])),
    )
    return replace(
        asked,
        names=[*asked.names, *chosen],
        groups=asked.groups | ({label: chosen} if chosen else {}),
        background=None if model.config.decoder_type == "cosine" and chosen else label,
        encoding=joined,
    )


def _encode_rivals(asked: Any, model: Any, processor: Any, rivals: Sequence[str]) -> FGASegTextEncoding:
    """The rivals' embeddings: those that were kept for this model, if its text tower is as it was."""
    kept = _encodings.get(model)
    encoding = asked.encoding
    if kept is not None and kept.key == encoding.key and kept.phrases == list(rivals):
        return kept
    templates = encoding.templates
    if templates != processor.prompt_templates:
        processor = type(processor)(processor.image_processor, processor.tokenizer, prompt_templates=templates)
    embeddings = encode_class_names(model, processor, rivals).float().cpu()
    fresh = replace(encoding, phrases=list(rivals), embeddings=embeddings)
    _encodings[model] = fresh
    return fresh


__all__ = ["AUTOMATIC_BACKGROUND", "COMMON_NAMES", "NONE_OF_THESE", "add_rivals", "rival_places"]
