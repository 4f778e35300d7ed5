# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What the page answers: a question as it was typed and set, to pictures, shares and one sentence."""

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..inference.visualization import draw_overlay
from .bracketed_words import BracketedWords, parse_bracketed_words

# More would make the browser draw for longer than the model computes.
MAX_WORDS = 500
MAX_MARKED_WORDS = 60
# A figure of more has no legible maps.
MAX_EXPLAINED_WORDS = 40
EVERYTHING = "every word"
BACKGROUND = "none of these"
WELCOME = "Choose a picture, then type what to look for, separated by commas."


@dataclass(frozen=True)
class PageAnswer:
    """What the page shows for one question.

    Attributes:
        marked: The picture with a mask a word, as `gradio.AnnotatedImage` takes it; `None` if there is no answer.
        overlay: The picture under the words' colours, with a legend.
        shares: The part of the picture that each word covers.
        confidence: How likely each pixel's word is, dark to bright; `None` if there is no answer.
        choices: What "show" may be set to.
        message: One sentence for the line below the words.
        result: The segmentation itself.
    """

    marked: tuple[Image.Image, list[tuple[np.ndarray, str]]] | None
    overlay: Image.Image | None
    shares: dict[str, float]
    confidence: Image.Image | None
    choices: list[str]
    message: str
    result: Segmentation | None = None


def answer(
    segmenter: Segmenter,
    picture: Image.Image | None,
    text: str,
    threshold: float = 0.0,
    has_background: bool = False,
    opacity: float = 0.5,
    shown: str = EVERYTHING,
) -> PageAnswer:
    """Answers one question of the page; what is wrong with it becomes the message.

    Args:
        segmenter: The model.
        picture: The chosen picture, if there is one yet.
        text: The words as they were typed, see [`parse_bracketed_words`].
        threshold: Pixels whose best word is less likely get none; 0 for off.
        has_background: Whether such pixels are called "none of these".
        opacity: Of the overlay's colours; at 0 its outlines are left.
        shown: A word to show alone, or [`EVERYTHING`].
    """
    try:
        asked = read_question(text, MAX_WORDS)
        if picture is None or not asked.num_phrases:
            return _nothing(WELCOME)
        result = segmenter(picture, asked.words, **settings_of(asked, threshold, has_background))
    except ValueError as error:
        return _nothing(" ".join(str(error).split()))
    found = result.found
    drawn = [word for word in found if shown in (EVERYTHING, word)]
    masks = [
        (result[word].mask.astype(np.float32), f"{word} {result.shares[word]:.0%}") for word in drawn[:MAX_MARKED_WORDS]
    ]
    shares = {word: result.shares[word] for word in found}
    brightness = Image.fromarray((result.confidence.astype(np.float32) * 255).clip(0, 255).astype(np.uint8))
    missing = [word for word in result.class_names if word not in found and word != BACKGROUND]
    message = f"Not found: {', '.join(missing[:20])}." if missing else "Every word was found."
    if len(drawn) > MAX_MARKED_WORDS:
        message += f" The {MAX_MARKED_WORDS} largest can be pointed at; the overlay shows all."
    choices = [EVERYTHING, *found]
    overlay = _overlay_of(result, shown, opacity)
    return PageAnswer((result.picture, masks), overlay, shares, brightness, choices, message, result)


def read_question(text: str, max_words: int) -> BracketedWords:
    """Reads the words, and counts them. `@FILE` is for the command line: a page reads no file of its machine.

    Raises:
        ValueError: They cannot be read, or are too many.
    """
    asked = parse_bracketed_words(text)
    if asked.num_phrases > max_words:
        raise ValueError(f"These are {asked.num_phrases} words: ask for at most {max_words} at once.")
    return asked


def settings_of(asked: BracketedWords, threshold: float, has_background: bool) -> dict[str, Any]:
    """The options of a call that answers a question."""
    return {
        "synonyms": asked.synonyms,
        "groups": asked.groups,
        # With a background, 0 is no limit; its own is one half.
        "threshold": threshold if threshold or not has_background else None,
        "background": BACKGROUND if has_background else None,
    }


def explain(
    segmenter: Segmenter, picture: Image.Image | None, text: str, threshold: float = 0.0, has_background: bool = False
) -> tuple[Image.Image | None, str]:
    """Draws how the model comes to its answer.

    Args:
        segmenter: See [`answer`], as for all arguments.
        picture: The chosen picture.
        text: The words.
        threshold: The least probability.
        has_background: Whether the rest has a name.

    Returns:
        The figure and nothing to say, or no figure and why.
    """
    try:
        asked = read_question(text, MAX_EXPLAINED_WORDS)
        if picture is None or not asked.num_phrases:
            return None, WELCOME
        return segmenter.explain(picture, asked.words, **settings_of(asked, threshold, has_background)).figure(), ""
    except ValueError as error:
        return None, " ".join(str(error).split())


def write_downloads(result: Segmentation, formats: Sequence[str]) -> str:
    """Packs what the segmentation can be saved as into one archive, and returns its path.

    Raises:
        ValueError: No format is chosen, or the words do not suit one.
    """
    if not formats:
        raise ValueError("There is nothing to download: choose what to save.")
    folder = Path(tempfile.mkdtemp(prefix="fgaseg_page_"))
    files = result.save(folder, "segmentation", formats)
    archive = folder / "segmentation.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in files:
            packed.write(path, path.name)
    return str(archive)


def _overlay_of(result: Segmentation, shown: str, opacity: float) -> Image.Image:
    if shown not in result.found:
        return result.overlay(opacity)
    place = result.class_names.index(shown)
    alone = np.where(result.label_map == place, result.label_map, -1)
    return draw_overlay(result.picture, alone, result.class_names, opacity)


def _nothing(message: str) -> PageAnswer:
    return PageAnswer(None, None, {}, None, [EVERYTHING], message)


__all__ = ["PageAnswer", "answer", "explain", "read_question", "settings_of", "write_downloads"]
