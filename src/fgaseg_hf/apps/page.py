# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The page: choose a picture, type words, watch the answer change (extra `demo`)."""

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from ..inference.word_lists import split_words

# More would make the browser draw for longer than the model computes.
MAX_WORDS = 500
MAX_LEGEND_WORDS = 60
EVERYTHING = "every word"
BACKGROUND = "none of these"
WELCOME = "Choose a picture, then type what to look for, separated by commas."


@dataclass(frozen=True)
class PageAnswer:
    """What the page shows for one question.

    Attributes:
        marked: The picture with a mask a word, as [`gradio.AnnotatedImage`] takes it; `None` if there is no answer.
        shares: The part of the picture that each word covers.
        confidence: How likely each pixel's word is, dark to bright; `None` if there is no answer.
        choices: What "show" may be set to.
        message: One sentence for the line below the words.
        result: The segmentation itself.
    """

    marked: tuple[Image.Image, list[tuple[np.ndarray, str]]] | None
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
    shown: str = EVERYTHING,
) -> PageAnswer:
    """Answers one question of the page; what is wrong with it becomes the message.

    Args:
        segmenter: The model.
        picture: The chosen picture, if there is one yet.
        text: The words as they were typed.
        threshold: Pixels whose best word is less likely get none; 0 for off.
        has_background: Whether such pixels are called "none of these".
        shown: A word to show alone, or [`EVERYTHING`].
    """
    # `@FILE` is for the command line: a page reads no file of the machine that it runs on.
    words = split_words(text) if text.strip() else []
    if picture is None or not words:
        return _nothing(WELCOME)
    if len(words) > MAX_WORDS:
        return _nothing(f"These are {len(words)} words: ask for at most {MAX_WORDS} at once.")
    try:
        result = segmenter(
            picture,
            words,
            threshold=threshold if 0 < threshold < 1 else None,
            background=BACKGROUND if has_background else None,
        )
    except ValueError as error:
        return _nothing(" ".join(str(error).split()))
    found = result.found
    drawn = [word for word in found if shown in (EVERYTHING, word)][:MAX_LEGEND_WORDS]
    masks = [(result[word].mask.astype(np.float32), f"{word} {result.shares[word]:.0%}") for word in drawn]
    shares = {word: result.shares[word] for word in found}
    brightness = Image.fromarray((result.confidence.astype(np.float32) * 255).clip(0, 255).astype(np.uint8))
    missing = [word for word in result.class_names if word not in found and word != BACKGROUND]
    message = f"Not found: {', '.join(missing[:20])}." if missing else "Every word was found."
    return PageAnswer((result.picture, masks), shares, brightness, [EVERYTHING, *found], message, result)


def _nothing(message: str) -> PageAnswer:
    return PageAnswer(None, {}, None, [EVERYTHING], message)


def write_downloads(result: Segmentation) -> str:
    """Packs what the segmentation can be saved as into one archive, and returns its path."""
    folder = Path(tempfile.mkdtemp(prefix="fgaseg_page_"))
    files = result.save(folder, "segmentation")
    archive = folder / "segmentation.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in files:
            packed.write(path, path.name)
    return str(archive)


def create_page(segmenter: Segmenter) -> gr.Blocks:
    """Builds the page on a segmenter; `launch()` opens it."""
    with gr.Blocks(title="FGASeg: segment with your own words", analytics_enabled=False) as page:
        gr.Markdown(
            f"# What is where?\nModel: `{Path(segmenter.name).name}`. Nothing that you give leaves this machine."
        )
        with gr.Row():
            with gr.Column():
                picture = gr.Image(type="pil", label="Picture", sources=["upload", "clipboard", "webcam"])
                text = gr.Textbox(label="Words", placeholder="car, road, sky", info="Separated by commas")
                message = gr.Markdown(WELCOME, elem_id="message")
                with gr.Accordion("More", open=False):
                    threshold = gr.Slider(0, 0.95, 0, step=0.05, label="Least probability")
                    has_background = gr.Checkbox(label='Call the rest "none of these"')
            with gr.Column():
                shown = gr.Dropdown([EVERYTHING], value=EVERYTHING, label="Show")
                marked = gr.AnnotatedImage(label="Answer", elem_id="answer")
                shares = gr.Label(label="Share of the picture", num_top_classes=12)
                with gr.Accordion("How sure", open=False):
                    confidence = gr.Image(label="Dark: unsure", interactive=False)
                download = gr.DownloadButton("Download label map and overlay", interactive=False)

        def ask(*question: Any) -> list[Any]:
            given = answer(segmenter, *question)
            chosen = question[-1] if question[-1] in given.choices else EVERYTHING
            return [
                given.marked,
                given.shares,
                given.confidence,
                gr.update(choices=given.choices, value=chosen),
                given.message,
                gr.update(interactive=given.result is not None),
            ]

        def pack(*question: Any) -> str | None:
            given = answer(segmenter, *question)
            return None if given.result is None else write_downloads(given.result)

        questions = [picture, text, threshold, has_background, shown]
        answers = [marked, shares, confidence, shown, message, download]
        gr.on(
            [picture.change, text.change, threshold.release, has_background.change, shown.input],
            ask,
            questions,
            answers,
            trigger_mode="always_last",
            show_progress="minimal",
            api_name="segment",
        )
        download.click(pack, questions, download, api_name=False)
    return page


__all__ = ["PageAnswer", "answer", "create_page", "write_downloads"]
