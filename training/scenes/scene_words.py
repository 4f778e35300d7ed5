# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Words for what the generated scenes show, at four levels: names, nouns, colours and groups, with their synonyms."""

from __future__ import annotations

from scene_vocabulary import COLOURED_NOUNS, UNCOLOURED_NOUNS

NOUNS: tuple[str, ...] = (*UNCOLOURED_NOUNS, *COLOURED_NOUNS)

#: Other words for each noun; training draws them in place of the noun.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "sky": ("heavens", "skies"),
    "grass": ("lawn", "meadow", "grassland"),
    "sand": ("beach", "sandy ground", "dune"),
    "snow": ("snowy ground", "snowfield"),
    "soil": ("dirt", "earth", "bare ground"),
    "pavement": ("sidewalk", "paving stones", "paved ground"),
    "sea": ("ocean", "open sea"),
    "lake": ("pond", "lagoon"),
    "river": ("stream", "creek"),
    "road": ("street", "highway", "asphalt road"),
    "path": ("trail", "footpath", "track"),
    "mountain": ("mount", "mountains", "mountain range"),
    "hill": ("hillside", "hills", "knoll"),
    "forest": ("woods", "woodland"),
    "rainbow": ("rainbow in the sky", "rainbow arch"),
    "cloud": ("clouds", "cloudlet"),
    "sun": ("sunshine", "the sun"),
    "moon": ("full moon", "the moon"),
    "tree": ("oak", "leafy tree", "deciduous tree"),
    "pine": ("fir", "conifer", "pine tree"),
    "palm": ("palm tree", "coconut palm"),
    "bush": ("shrub", "hedge"),
    "rock": ("stone", "boulder"),
    "cactus": ("cacti", "cactus plant"),
    "house": ("cottage", "home", "cabin", "residence"),
    "tower": ("castle tower", "turret", "watchtower"),
    "tent": ("camping tent", "canvas tent", "marquee"),
    "car": ("automobile", "sedan", "motorcar"),
    "truck": ("lorry", "pickup truck"),
    "bus": ("coach bus", "omnibus"),
    "boat": ("ship", "sailboat", "vessel"),
    "airplane": ("plane", "aeroplane"),
    "rocket": ("spaceship", "rocket ship"),
    "ball": ("football", "beach ball"),
    "balloon": ("hot air balloon", "toy balloon"),
    "kite": ("flying kite", "toy kite"),
    "umbrella": ("parasol", "sunshade"),
    "flag": ("banner", "ensign"),
    "fence": ("picket fence", "palisade"),
    "bench": ("park bench", "wooden bench"),
    "chair": ("seat", "armchair"),
    "table": ("desk", "dining table"),
    "lamp": ("street lamp", "lantern"),
    "mailbox": ("letter box", "post box"),
    "cup": ("mug", "teacup"),
    "hat": ("cap", "sun hat"),
    "barrel": ("cask", "keg"),
    "sign": ("road sign", "signboard"),
    "flower": ("blossom", "bloom", "tulip"),
    "mushroom": ("toadstool", "fungus"),
    "fish": ("goldfish", "swimming fish"),
    "bird": ("songbird", "sparrow"),
}

#: Other words that training never shows, for measuring.
HELD_OUT_SYNONYMS: dict[str, tuple[str, ...]] = {
    "sky": ("firmament",),
    "grass": ("turf", "pasture"),
    "sand": ("desert",),
    "snow": ("snow cover",),
    "soil": ("mud",),
    "pavement": ("walkway",),
    "sea": ("seawater",),
    "lake": ("reservoir",),
    "river": ("brook",),
    "road": ("roadway",),
    "path": ("pathway",),
    "mountain": ("mountain peak", "summit"),
    "hill": ("hilltop",),
    "forest": ("jungle", "grove"),
    "rainbow": ("rainbows",),
    "cloud": ("cumulus",),
    "sun": ("sunlight",),
    "moon": ("crescent moon",),
    "tree": ("maple",),
    "pine": ("spruce", "evergreen"),
    "palm": ("palms",),
    "bush": ("thicket", "shrubbery"),
    "rock": ("rocks", "stones"),
    "cactus": ("saguaro",),
    "house": ("farmhouse", "villa"),
    "tower": ("keep tower",),
    "tent": ("camp tent",),
    "car": ("auto", "hatchback"),
    "truck": ("cargo truck",),
    "bus": ("minibus",),
    "boat": ("sailing boat", "yacht"),
    "airplane": ("jet", "airliner"),
    "rocket": ("spacecraft", "missile"),
    "ball": ("soccer ball",),
    "balloon": ("party balloon",),
    "kite": ("kites",),
    "umbrella": ("brolly",),
    "flag": ("pennant",),
    "fence": ("railing",),
    "bench": ("garden bench",),
    "chair": ("stool",),
    "table": ("tabletop",),
    "lamp": ("streetlight",),
    "mailbox": ("postbox",),
    "cup": ("coffee cup",),
    "hat": ("bonnet", "fedora"),
    "barrel": ("wine barrel",),
    "sign": ("signpost",),
    "flower": ("daisy", "wildflower"),
    "mushroom": ("fly agaric",),
    "fish": ("trout",),
    "bird": ("robin", "pigeon"),
}

#: Words for several nouns at once: what they name for certain, and what some would call so and others not.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vehicle": (("car", "truck", "bus"), ("boat", "airplane", "rocket")),
    "road vehicle": (("car", "truck", "bus"), ()),
    "plant": (("tree", "pine", "palm", "bush", "cactus", "flower"), ("grass", "forest", "mushroom")),
    "water": (("sea", "lake", "river"), ()),
    "building": (("house", "tower"), ("tent",)),
    "furniture": (("bench", "chair", "table"), ("lamp",)),
    "animal": (("fish", "bird"), ()),
    "ground": (("grass", "sand", "snow", "soil", "pavement", "path", "road"), ("hill", "rock")),
    "toy": (("ball", "balloon", "kite"), ("hat",)),
    "aircraft": (("airplane", "rocket"), ("balloon", "kite")),
    "container": (("cup", "barrel"), ("mailbox",)),
    "mountains and hills": (("mountain", "hill"), ()),
    "heavenly body": (("sun", "moon"), ()),
    "trees": (("tree", "pine", "palm", "forest"), ("bush",)),
    "seat": (("bench", "chair"), ("table",)),
}
HELD_OUT_GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "motor vehicle": (("car", "truck", "bus"), ("boat", "airplane", "rocket")),
    "body of water": (("sea", "lake", "river"), ()),
    "vegetation": (("tree", "pine", "palm", "bush", "cactus", "flower"), ("grass", "forest", "mushroom")),
    "creature": (("fish", "bird"), ()),
    "architecture": (("house", "tower"), ("tent",)),
}

#: What carries no colour word, and yet has a colour that people would name.
NATURAL_COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("rainbow", "sun", "sky", "cloud"),
    "orange": ("rainbow", "sun", "sky", "soil", "sand", "cloud"),
    "yellow": ("rainbow", "sun", "moon", "sand", "sky"),
    "green": (
        "grass",
        "tree",
        "pine",
        "palm",
        "bush",
        "cactus",
        "forest",
        "hill",
        "rainbow",
        "mountain",
        "sea",
        "lake",
    ),
    "blue": ("sky", "sea", "lake", "river", "rainbow", "mountain", "forest", "hill"),
    "purple": ("rainbow", "mountain", "hill", "sky"),
    "pink": ("rainbow", "sky", "cloud"),
    "brown": ("soil", "path", "rock", "tree", "palm", "mountain", "hill", "sand", "road"),
    "black": ("sky", "road", "mountain", "forest", "rock"),
    "white": ("snow", "cloud", "moon", "mountain", "sky"),
    "gray": ("rock", "pavement", "road", "mountain", "cloud", "sky", "path", "moon"),
    "turquoise": ("sea", "lake", "river", "rainbow", "sky"),
}


def noun_of(name: str) -> str:
    """Returns the noun of a class name such as `red car`."""
    return name.split(" ", 1)[1] if " " in name else name


def adjective_of(name: str) -> str | None:
    """Returns the colour or pattern of a class name, or None."""
    return name.split(" ", 1)[0] if " " in name else None
