# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The page: choose a picture, type words, watch the answer change (extra `demo`)."""

import json
from pathlib import Path
from typing import Any

import gradio as gr

from ..conversion.named_models import NAMED_MODELS, builtin_model_folder
from ..inference.output_formats import DEFAULT_FORMATS, FORMATS
from .model_shelf import ModelShelf
from .page_answers import EVERYTHING, WELCOME, answer, explain, write_downloads

WORDS_HINT = "Between commas. Synonyms in brackets: sofa (couch, settee). One answer for several: vehicle = (car, bus)"
# Gradio's grey for hints is too faint for many eyes; a phone has no room for its margins.
STYLE = """
.gradio-container, .gradio-container.dark {
    --body-text-color-subdued: #4b5563; --block-info-text-color: #4b5563; --block-label-text-color: #1f2937;
    --input-placeholder-color: #5b6472; --block-title-text-color: #1f2937;
}
.dark .gradio-container, .dark {
    --body-text-color-subdued: #c5cad3; --block-info-text-color: #c5cad3; --block-label-text-color: #f3f4f6;
    --input-placeholder-color: #b6bcc6; --block-title-text-color: #f3f4f6;
}
.gradio-container button[role="tab"][aria-selected="true"] { color: #9a3412 !important; }
.dark button[role="tab"][aria-selected="true"] { color: #fdba74 !important; }
.gradio-container .or, .gradio-container footer * { color: var(--body-text-color-subdued) !important; }
@media (max-width: 640px) { .gradio-container { padding: 8px !important; } }
"""


def create_page(shelf: ModelShelf) -> gr.Blocks:
    """Builds the page on models; `launch()` opens it.

    Args:
        shelf: The models to choose from.
    """
    with gr.Blocks(title="FGASeg: segment with your own words", analytics_enabled=False) as page:
        gr.HTML(f"<style>{STYLE}</style>", padding=False)
        gr.Markdown("# What is where?\nNothing that you give leaves the machine that this page runs on.")
        with gr.Row():
            with gr.Column(min_width=300):
                picture = gr.Image(type="pil", label="Picture", sources=["upload", "clipboard", "webcam"], height=300)
                text = gr.Textbox(label="Words", placeholder="car, road, sky", info=WORDS_HINT, elem_id="words")
                message = gr.Markdown(WELCOME, elem_id="message")
                settings = _add_settings(shelf)
                _add_examples(picture, text)
            with gr.Column(min_width=300):
                shown = gr.Dropdown([EVERYTHING], value=EVERYTHING, label="Show", elem_id="shown")
                with gr.Tab("Word by word"):
                    marked = gr.AnnotatedImage(label="Point at a word to see where it is", elem_id="answer")
                with gr.Tab("Overlay"):
                    overlay = gr.Image(label="Picture, colours and legend", interactive=False, elem_id="overlay")
                with gr.Tab("How sure"):
                    confidence = gr.Image(label="Dark: unsure", interactive=False)
                with gr.Tab("How it came about"):
                    explain_button = gr.Button("Draw the maps of every step")
                    explanation = gr.Image(label="The method's steps, word by word", interactive=False)
                shares = gr.Label(label="Share of the picture", num_top_classes=12, elem_id="shares")
                formats = gr.CheckboxGroup(
                    [(f"{name}: {kind.meaning}", name) for name, kind in FORMATS.items()],
                    value=list(DEFAULT_FORMATS),
                    label="What to download",
                )
                download = gr.Button("Make the files", interactive=False, elem_id="make-files")
                files = gr.File(label="Files to download", interactive=False, elem_id="files")

        questions = [settings["model"], picture, text, settings["threshold"], settings["background"]]
        _answer_changes(
            shelf, questions, [settings["opacity"], shown], [marked, overlay, shares, confidence, message, download]
        )
        explain_button.click(
            lambda model, *question: explain(shelf.get(model), *question),
            questions,
            [explanation, message],
            api_name=False,
        )
        download.click(
            lambda chosen, *question: _pack(shelf, chosen, *question), [formats, *questions], files, api_name=False
        )
    return page


def _add_settings(shelf: ModelShelf) -> dict[str, Any]:
    with gr.Accordion("More", open=False):
        return {
            "model": gr.Dropdown(
                [(describe_model(name), name) for name in shelf.names],
                value=shelf.names[0],
                label="Model",
                info="Fetched when it is first chosen",
            ),
            "threshold": gr.Slider(
                0,
                0.95,
                default_threshold(shelf, shelf.names[0]),
                step=0.05,
                label="Least probability",
                info="0: every pixel gets a word",
            ),
            "background": gr.Checkbox(label='Call the rest "none of these"'),
            "opacity": gr.Slider(0, 1, 0.5, step=0.05, label="Opacity of the overlay", info="0: outlines alone"),
        }


def default_threshold(shelf: ModelShelf, name: str) -> float:
    """The least probability that a model was trained for; 0 if for none, or if it cannot be loaded."""
    try:
        return float(shelf.get(name).model.config.default_threshold or 0)
    except ValueError:
        # Whoever asks it will be told why.
        return 0.0


def describe_model(name: str) -> str:
    """What a model is, in a line."""
    known = NAMED_MODELS.get(name)
    return Path(name).name if known is None else f"{name}: {known.about} ({known.license})"


def _add_examples(picture: gr.Image, text: gr.Textbox) -> None:
    folder = builtin_model_folder()
    if (folder / "example.json").is_file():
        words = json.loads((folder / "example.json").read_text(encoding="utf-8"))["labels"]
        gr.Examples([[str(folder / "example.png"), ", ".join(words)]], [picture, text], label="Example")


def _answer_changes(shelf: ModelShelf, questions: list[Any], looks: list[Any], outputs: list[Any]) -> None:
    """Asks anew whenever something of the question or of its look changes."""
    model, picture, text, threshold, background = questions
    opacity, shown = looks

    def ask(model: str, *question: Any) -> list[Any]:
        try:
            segmenter = shelf.get(model)
        except ValueError as error:
            raise gr.Error(" ".join(str(error).split()), print_exception=False) from error
        given = answer(segmenter, *question)
        chosen = question[-1] if question[-1] in given.choices else EVERYTHING
        return [
            given.marked,
            given.overlay,
            given.shares,
            given.confidence,
            given.message,
            gr.update(interactive=given.result is not None),
            gr.update(choices=given.choices, value=chosen),
        ]

    model.change(lambda name: default_threshold(shelf, name), model, threshold, api_name=False)
    gr.on(
        [
            *(component.change for component in (model, picture, text, background)),
            threshold.change,
            opacity.release,
            shown.input,
        ],
        ask,
        [*questions, *looks],
        [*outputs, shown],
        trigger_mode="always_last",
        show_progress="minimal",
        api_name="segment",
    )


def _pack(shelf: ModelShelf, formats: list[str], model: str, *question: Any) -> str:
    given = answer(shelf.get(model), *question)
    try:
        if given.result is None:
            raise ValueError(given.message)
        return write_downloads(given.result, formats)
    except ValueError as error:
        raise gr.Error(" ".join(str(error).split()), print_exception=False) from error


__all__ = ["create_page", "describe_model"]
