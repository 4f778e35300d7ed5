# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The words of the generated scenes: nouns, colours, patterns, places, and what training never sees."""

from __future__ import annotations

import numpy as np

#: Colour words and the paint each stands for (RGB); a drawing moves every paint a little.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 32, 38),
    "orange": (244, 128, 20),
    "yellow": (248, 216, 40),
    "green": (34, 142, 56),
    "blue": (36, 74, 206),
    "purple": (122, 44, 166),
    "pink": (250, 138, 190),
    "brown": (116, 68, 36),
    "black": (26, 26, 30),
    "white": (244, 244, 242),
    "gray": (134, 134, 138),
    "turquoise": (44, 202, 198),
}

PATTERNS: tuple[str, ...] = ("striped", "dotted", "checkered")

#: Everything that carries no colour word: the sky, grounds, waters, distant shapes and plants.
UNCOLOURED_NOUNS: tuple[str, ...] = (
    "sky",
    "grass",
    "sand",
    "snow",
    "soil",
    "pavement",
    "sea",
    "lake",
    "river",
    "road",
    "path",
    "mountain",
    "hill",
    "forest",
    "rainbow",
    "cloud",
    "sun",
    "moon",
    "tree",
    "pine",
    "palm",
    "bush",
    "rock",
    "cactus",
)

_LAND = frozenset({"grass", "sand", "snow", "soil", "pavement", "path", "road"})
_MEADOW = frozenset({"grass", "sand", "snow", "soil", "pavement", "path"})
_WATER = frozenset({"sea", "lake", "river"})

#: Where each colourable noun stands in training pictures (the stuff under its foot).
TRAINING_PLACES: dict[str, frozenset[str]] = {
    "house": frozenset({"grass", "sand", "snow", "soil", "pavement"}),
    "tower": frozenset({"grass", "sand", "snow", "soil", "pavement"}),
    "tent": frozenset({"grass", "sand", "soil"}),
    "car": frozenset({"road", "pavement", "grass", "soil"}),
    "truck": frozenset({"road", "pavement", "soil", "sand"}),
    "bus": frozenset({"road", "pavement", "grass", "snow"}),
    "boat": _WATER,
    "airplane": frozenset({"sky"}),
    "rocket": frozenset({"sky", "grass", "sand", "pavement"}),
    "ball": _LAND | {"lake", "sea"},
    "balloon": frozenset({"sky"}),
    "kite": frozenset({"sky"}),
    "umbrella": frozenset({"grass", "sand", "pavement", "soil", "path"}),
    "flag": _MEADOW,
    "fence": frozenset({"grass", "soil", "snow", "sand"}),
    "bench": frozenset({"grass", "pavement", "path", "soil"}),
    "chair": _MEADOW,
    "table": _MEADOW,
    "lamp": _MEADOW,
    "mailbox": frozenset({"grass", "snow", "soil", "pavement", "path"}),
    "cup": _MEADOW,
    "hat": _MEADOW,
    "barrel": _LAND,
    "sign": _LAND,
    "flower": frozenset({"grass", "soil", "sand", "path"}),
    "mushroom": frozenset({"grass", "soil", "path"}),
    "fish": _WATER,
    "bird": _MEADOW | {"sky"},
}

#: Places that validation alone shows.
NEW_PLACES: dict[str, frozenset[str]] = {
    "boat": frozenset({"grass", "sand", "snow"}),
    "car": frozenset({"sand", "snow"}),
    "tent": frozenset({"snow", "pavement"}),
    "airplane": frozenset({"grass", "sand", "pavement"}),
    "kite": frozenset({"grass", "snow"}),
    "fish": frozenset({"sky", "sand", "grass"}),
    "bench": frozenset({"snow", "sand"}),
    "mushroom": frozenset({"snow", "sand"}),
}

#: Where the uncoloured things stand, in every split.
UNCOLOURED_PLACES: dict[str, frozenset[str]] = {
    "cloud": frozenset({"sky"}),
    "sun": frozenset({"sky"}),
    "moon": frozenset({"sky"}),
    "tree": frozenset({"grass", "soil", "snow", "pavement"}),
    "pine": frozenset({"grass", "soil", "snow"}),
    "palm": frozenset({"sand", "grass", "pavement"}),
    "bush": frozenset({"grass", "soil", "sand", "pavement"}),
    "rock": frozenset({"grass", "sand", "snow", "soil", "sea", "lake"}),
    "cactus": frozenset({"sand", "soil"}),
}

COLOURED_NOUNS: tuple[str, ...] = tuple(TRAINING_PLACES)
PATTERNED_NOUNS: tuple[str, ...] = ("ball", "balloon", "kite", "umbrella", "tent", "hat", "flag", "cup")


def compose_name(adjective: str, noun: str) -> str:
    """Returns the class name of a noun with its colour or pattern, such as `red car`."""
    return f"{adjective} {noun}"


CLASS_NAMES: tuple[str, ...] = (
    *UNCOLOURED_NOUNS,
    *(compose_name(colour, noun) for noun in COLOURED_NOUNS for colour in COLOURS),
    *(compose_name(pattern, noun) for noun in PATTERNED_NOUNS for pattern in PATTERNS),
)
CLASS_IDS: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}


def _hold_out(
    nouns: tuple[str, ...], adjectives: tuple[str, ...], count: int, rng: np.random.Generator
) -> set[tuple[str, str]]:
    """Draws `count` (adjective, noun) pairs so that no noun and no adjective loses much more than another."""
    lost_by_noun = dict.fromkeys(nouns, 0)
    lost_by_adjective = dict.fromkeys(adjectives, 0)
    held_out: set[tuple[str, str]] = set()
    while len(held_out) < count:
        free = [(adjective, noun) for noun in nouns for adjective in adjectives if (adjective, noun) not in held_out]
        cost = np.array([lost_by_noun[noun] + lost_by_adjective[adjective] / 2 for adjective, noun in free])
        adjective, noun = free[int(rng.choice(np.flatnonzero(cost == cost.min())))]
        held_out.add((adjective, noun))
        lost_by_noun[noun] += 1
        lost_by_adjective[adjective] += 1
    return held_out


def _held_out_pairs() -> frozenset[tuple[str, str]]:
    # The seed belongs to the vocabulary, not to a data set: two data sets must agree on what is unseen.
    rng = np.random.default_rng(20)
    colours = _hold_out(COLOURED_NOUNS, tuple(COLOURS), round(len(COLOURED_NOUNS) * len(COLOURS) / 5), rng)
    patterns = _hold_out(PATTERNED_NOUNS, PATTERNS, round(len(PATTERNED_NOUNS) * len(PATTERNS) / 5), rng)
    return frozenset(colours | patterns)


HELD_OUT_PAIRS: frozenset[tuple[str, str]] = _held_out_pairs()
UNSEEN_NAMES: tuple[str, ...] = tuple(name for name in CLASS_NAMES if tuple(name.split(" ", 1)) in HELD_OUT_PAIRS)
SEEN_NAMES: tuple[str, ...] = tuple(name for name in CLASS_NAMES if name not in set(UNSEEN_NAMES))
#: Seen names of the nouns that `validation_unseen` shows in new places only.
NEW_PLACE_NAMES: tuple[str, ...] = tuple(
    name for name in SEEN_NAMES if " " in name and name.split(" ", 1)[1] in NEW_PLACES
)
