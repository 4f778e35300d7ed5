# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Both pages in a real browser: words typed there change legend and map, and what comes out is what Python answers."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from browsers import PHONE, WIDE, contrast_faults, opened_browser, unlabelled_controls
from PIL import Image
from static_host import static_host

from fgaseg_hf import builtin_model_folder
from fgaseg_hf.inference.segmenter import Segmenter

pytestmark = pytest.mark.slow

EXAMPLE = builtin_model_folder() / "example.png"
FIRST, SECOND = ["sky", "red car", "blue house", "forest"], ["lake", "orange house", "sky"]
# A first question may wait for the model to be read.
MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter("scenes")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def web_page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built-in model's page without a server, exported as the command line does it."""
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    from typer.testing import CliRunner

    from fgaseg_hf.cli.main import app

    folder = tmp_path_factory.mktemp("web")
    result = CliRunner().invoke(app, ["export", str(builtin_model_folder()), "--web", str(folder)])
    if "npm" in result.output and result.exit_code:
        pytest.skip(result.output.strip())
    assert result.exit_code == 0, result.output
    with static_host(folder) as address:
        yield address


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """An empty tab; whatever goes wrong in it, and every request to another host, fails the test."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: _refuse_others(request.url, problems))
    yield page
    context.close()
    assert not problems, problems


def _refuse_others(address: str, problems: list[str]) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
        problems.append(f"asked {address}")


def legend_of(tab: Any) -> list[str]:
    return [text.strip() for text in tab.locator("#legend .name").all_inner_texts()]


def ask(tab: Any, words: str, expected: list[str]) -> None:
    """Types words and waits for the answer whose words these are."""
    tab.fill("#words", words)
    tab.wait_for_function(
        "words => !fgaseg.state.isBusy && JSON.stringify(fgaseg.state.asked) === JSON.stringify(words)", arg=expected
    )


def label_map_of(tab: Any) -> np.ndarray:
    height, width = tab.evaluate("fgaseg.state.answer.size")
    labels = tab.evaluate("Array.from(fgaseg.state.answer.labels)")
    return np.array(labels).reshape(height, width)


def test_the_page_without_a_server_answers_as_python_does(tab: Any, web_page: str, segmenter: Segmenter) -> None:
    tab.goto(web_page)
    tab.set_input_files("#file", EXAMPLE)
    pictures = []
    for words in (FIRST, SECOND, ["sky"]):
        ask(tab, ", ".join(words), words)
        expected = segmenter(EXAMPLE, words)
        assert (label_map_of(tab) == expected.label_map).mean() >= 0.995
        assert legend_of(tab) == expected.found
        assert tab.evaluate("fgaseg.state.answer.shares") == pytest.approx(list(expected.shares.values()), abs=0.005)
        pictures.append(tab.locator("#canvas").screenshot())
    assert len(set(pictures)) == 3
    seconds = tab.evaluate("fgaseg.state.answer.seconds")
    assert 0 < seconds < 10


def test_groups_synonyms_threshold_and_the_rest(tab: Any, web_page: str, segmenter: Segmenter) -> None:
    tab.goto(web_page)
    tab.set_input_files("#file", EXAMPLE)
    ask(tab, "sky, house = (blue house, orange house), car (red car)", ["sky", "house", "car"])
    options: dict[str, Any] = {"groups": {"house": ["blue house", "orange house"]}, "synonyms": {"car": ["red car"]}}
    expected = segmenter(EXAMPLE, ["sky", "car"], **options)
    assert legend_of(tab) == expected.found
    found = label_map_of(tab)
    for place, word in enumerate(["sky", "house", "car"]):
        assert ((found == place) == expected[word].mask).mean() >= 0.995
    tab.get_by_text("More", exact=True).click()
    tab.locator("#background").check()
    tab.wait_for_function("() => fgaseg.state.asked?.length === 4 && !fgaseg.state.isBusy")
    expected = segmenter(EXAMPLE, ["sky", "car"], background="none of these", **options)
    assert (label_map_of(tab) == 3).mean() == pytest.approx(expected.shares["none of these"], abs=0.005)


def test_one_word_alone_by_keyboard_and_what_is_saved(tab: Any, web_page: str, segmenter: Segmenter) -> None:
    tab.goto(web_page)
    tab.set_input_files("#file", EXAMPLE)
    ask(tab, ", ".join(FIRST), FIRST)
    before = tab.locator("#canvas").screenshot()
    button = tab.locator("#legend button").first
    button.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#legend button").first.get_attribute("aria-pressed") == "true"
    assert tab.locator("#canvas").screenshot() != before
    expected = segmenter(EXAMPLE, FIRST)
    saved = {}
    for name in ("labels", "words", "overlay"):
        with tab.expect_download() as download:
            tab.click(f"#save-{name}")
        saved[name] = Path(download.value.path()).read_bytes()
    values = np.asarray(Image.open(io.BytesIO(saved["labels"])))[..., 0]
    assert (values.astype(int) - 1 == expected.label_map).mean() >= 0.995
    assert [entry["word"] for entry in json.loads(saved["words"])["words"]] == FIRST
    overlay = Image.open(io.BytesIO(saved["overlay"]))
    assert overlay.width >= expected.size[0] and overlay.height > expected.size[1]


def test_what_is_wrong_is_said(tab: Any, web_page: str, tmp_path: Path) -> None:
    tab.goto(web_page)
    tab.wait_for_function("() => fgaseg.state.about")
    status = tab.locator("#status")
    tab.set_input_files("#file", EXAMPLE)
    for words, sentence in (
        ("sky, sky", "given twice"),
        ("sofa (couch", "not closed"),
        ("x" * 300, "shorten"),
        (", ".join(f"thing {number}" for number in range(500)), "at most 200"),
        ("", "Choose a picture"),
    ):
        tab.fill("#words", words)
        tab.wait_for_function("text => document.getElementById('status').textContent.includes(text)", arg=sentence)
        assert legend_of(tab) == []
    (tmp_path / "broken.png").write_bytes(b"no picture")
    tab.set_input_files("#file", tmp_path / "broken.png")
    tab.wait_for_function("() => document.getElementById('status').className === 'wrong'")
    assert "PNG, JPEG or WebP" in status.inner_text()
    # A picture that is dropped onto the page.
    tab.fill("#words", "sky")
    content = list(EXAMPLE.read_bytes())
    tab.evaluate(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
          const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        content,
    )
    tab.wait_for_function("() => fgaseg.state.answer && fgaseg.state.asked.includes('sky')")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_page_without_a_server_can_be_read_by_everyone(tab: Any, web_page: str, size: dict[str, int]) -> None:
    tab.set_viewport_size(size)
    tab.goto(web_page)
    tab.get_by_text("More", exact=True).click()
    tab.click("#example")
    tab.wait_for_function("() => fgaseg.state.answer")
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert contrast_faults(tab) == []
    assert unlabelled_controls(tab) == []
    assert "sky" in (tab.locator("#canvas").get_attribute("aria-label") or "")


@pytest.fixture(scope="module")
def gradio_page(browser: Any, segmenter: Segmenter) -> Iterator[str]:
    """The address of the page that `fgaseg page` opens."""
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    from fgaseg_hf.apps.model_shelf import ModelShelf
    from fgaseg_hf.apps.page import create_page

    page = create_page(ModelShelf(["scenes"], lambda _: segmenter))
    _, address, _ = page.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True)
    yield address
    page.close()


def shares_on(tab: Any) -> str:
    return str(tab.locator("#shares").inner_text())


def test_words_change_the_pages_legend_and_map(tab: Any, gradio_page: str, segmenter: Segmenter) -> None:
    tab.goto(gradio_page)
    tab.locator("input[type=file]").first.set_input_files(EXAMPLE)
    legends, maps = [], []
    for words in (FIRST, SECOND):
        tab.locator("#words textarea").fill(", ".join(words))
        expected = segmenter(EXAMPLE, words).found
        legend = tab.locator("#answer .legend-item")
        tab.wait_for_function(
            "count => document.querySelectorAll('#answer .legend-item').length === count", arg=len(expected)
        )
        tab.wait_for_function("word => document.querySelector('#shares').innerText.includes(word)", arg=expected[0])
        legends.append([text.rsplit(" ", 1)[0].strip() for text in legend.all_inner_texts()])
        assert legends[-1] == expected
        maps.append(tab.locator("#answer .image-container").screenshot())
    assert maps[0] != maps[1]


def test_downloads_and_mistakes_on_the_page(tab: Any, gradio_page: str, segmenter: Segmenter) -> None:
    tab.goto(gradio_page)
    tab.locator("input[type=file]").first.set_input_files(EXAMPLE)
    tab.locator("#words textarea").fill("sky, lake")
    tab.wait_for_function("() => document.querySelectorAll('#answer .legend-item').length === 2")
    tab.click("#make-files")
    with tab.expect_download() as download:
        tab.locator("#files a[download]").first.click()
    with zipfile.ZipFile(download.value.path()) as packed:
        saved = np.asarray(Image.open(io.BytesIO(packed.read("segmentation_labels.png"))))
    # Where neither is likely enough, -1 is 255 in a file of 8 bits.
    assert np.array_equal(saved, segmenter(EXAMPLE, ["sky", "lake"]).label_map.astype(np.uint8))
    for words, sentence in (("sky, sky", "given twice"), (", ".join(f"thing {n}" for n in range(501)), "at most 500")):
        tab.locator("#words textarea").fill(words)
        tab.wait_for_function("text => document.querySelector('#message').innerText.includes(text)", arg=sentence)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_page_can_be_read_by_everyone(tab: Any, gradio_page: str, size: dict[str, int]) -> None:
    tab.set_viewport_size(size)
    tab.goto(gradio_page)
    tab.locator("#words textarea").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert contrast_faults(tab) == []
    assert unlabelled_controls(tab) == []
