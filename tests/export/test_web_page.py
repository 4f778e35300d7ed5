# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The page without a server: its arithmetic against Pillow's, the tokenizer's and PyTorch's; what is refused."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import TRAINING_FREE, tiny_model, tiny_processor

from fgaseg_hf import FGASegImageProcessorPil, FGASegProcessor, builtin_model_folder
from fgaseg_hf.apps.bracketed_words import parse_bracketed_words
from fgaseg_hf.export.web_export import describe_model, halve_exact_weights
from fgaseg_hf.export.web_page_files import browser_files
from fgaseg_hf.export.web_runtime import pinned_runtime, write_runtime

PROMPTS = [
    "A photo of a red car",
    "it's  Ünïcode, 3.5 m²!",
    "ΣΊΣΥΦΟΣ",
    "日本の家 (old)",
    "rock'n'roll -- ...",
    "İstanbul ﬁ",
]


def run_module(folder: Path, code: str, given: dict[str, Any]) -> Any:
    """Runs code among the page's files in Node.js, with `given` as data; what it calls `answer` with comes back."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js on this machine")
    for path in browser_files():
        shutil.copyfile(path, folder / path.name)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "test.js").write_text(
        'import { readFileSync, writeFileSync } from "node:fs";\n'
        'const given = JSON.parse(readFileSync("given.json"));\n'
        'const answer = (value) => writeFileSync("answer.json", JSON.stringify(value));\n' + code
    )
    subprocess.run([node, "test.js"], cwd=folder, check=True, timeout=60)
    return json.loads((folder / "answer.json").read_text())


@pytest.mark.parametrize("name", ["builtin", "tiny"])
def test_words_become_the_same_tokens(tmp_path: Path, name: str) -> None:
    processor = FGASegProcessor.from_pretrained(builtin_model_folder()) if name == "builtin" else tiny_processor()
    tokenizer = processor.tokenizer
    about = describe_model(tiny_model(text_config={"max_position_embeddings": 200}), processor)
    tokenizer.save_pretrained(tmp_path)
    code = """
        import { Tokenizer } from "./tokenizer.js";
        const tokenizer = new Tokenizer(JSON.parse(readFileSync("tokenizer.json")), given.tokens);
        answer(given.prompts.map((prompt) => tokenizer.encode(prompt)));
    """
    found = run_module(tmp_path, code, {"tokens": about["tokens"] | {"maxLength": 200}, "prompts": PROMPTS})
    assert found == [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]


@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic"])
def test_pictures_are_resized_as_pillow_does(tmp_path: Path, filter_name: str) -> None:
    rng = np.random.default_rng(0)
    cases = [((37, 53), (32, 32)), ((20, 9), (32, 48)), ((64, 200), (32, 32))]
    pictures = [rng.integers(0, 256, (*old, 3), dtype=np.uint8) for old, _ in cases]
    given = [
        [np.dstack([pixels, np.full(old, 255, np.uint8)]).ravel().tolist(), *old[::-1], *new[::-1]]
        for pixels, (old, new) in zip(pictures, cases, strict=True)
    ]
    code = """
        import { resize } from "./resampling.js";
        answer(given.cases.map((one) => [...resize(...one, given.filter)]));
    """
    found = run_module(tmp_path, code, {"cases": given, "filter": filter_name})
    for values, pixels, (_, (height, width)) in zip(found, pictures, cases, strict=True):
        expected = Image.fromarray(pixels).resize((width, height), Image.Resampling[filter_name.upper()])
        assert np.array_equal(np.array(values, np.uint8).reshape(height, width, 3), np.asarray(expected))


def test_each_pixel_gets_the_same_word(tmp_path: Path) -> None:
    logits = torch.randn(6, 8, 8)
    # As TopK leaves words; and one that is below all others everywhere.
    logits[2], logits[4] = torch.finfo(torch.float32).min, -50
    label_of = [0, 1, 2, 1, 3, 4]
    merged = torch.stack(
        [logits[[n for n, label in enumerate(label_of) if label == place]].amax(0) for place in range(5)]
    )
    wide = torch.nn.functional.interpolate(merged[None], size=(37, 50), mode="bilinear", align_corners=False)[0]
    best, expected = wide.max(dim=0)
    expected = expected.masked_fill(best.sigmoid() < 0.6, -1)
    code = """
        import { decidePixels, mergePhrases } from "./label_map.js";
        const merged = mergePhrases(Float32Array.from(given.logits), 64, given.labelOf, 5);
        const { labels, shares } = decidePixels(merged, [8, 8], 5, [37, 50], 0.6);
        answer({ labels: [...labels], shares });
    """
    found = run_module(tmp_path, code, {"logits": logits.flatten().tolist(), "labelOf": label_of})
    assert (np.array(found["labels"]).reshape(37, 50) == expected.numpy()).mean() > 0.999
    assert found["shares"] == pytest.approx([(expected == n).float().mean().item() for n in range(5)], abs=0.002)
    assert 0 < (expected < 0).float().mean() < 1


QUESTIONS = [
    "car, road,sky",
    "car\nroad,\n",
    "car、道路，sky, ",
    "sofa (couch, settee), sky",
    "vehicle = (car, bus), sky",
    "sky, Sky",
    "sofa (couch",
    "sofa) couch",
    "sofa ((couch))",
    "= (car)",
    "vehicle =",
    "vehicle = ()",
    "(car)",
    "sofa (couch) red",
]


def test_both_pages_read_words_alike(tmp_path: Path) -> None:
    code = """
        import { parseWords } from "./words.js";
        answer(given.texts.map((text) => { try { return parseWords(text); } catch (error) { return error.message; } }));
    """
    found = run_module(tmp_path, code, {"texts": QUESTIONS})
    for text, there in zip(QUESTIONS, found, strict=True):
        try:
            here = parse_bracketed_words(text)
        except ValueError as error:
            # The quotation marks alone differ.
            said = str(error).translate({ord(mark): None for mark in "'\""})
            assert isinstance(there, str) and there.translate({ord(mark): None for mark in "“”"}) == said
            continue
        labels = dict.fromkeys([*here.words, *here.groups])
        assert set(there["labels"]) == set(labels)
        members = {label: [] for label in labels}
        for phrase, place in zip(there["phrases"], there["labelOf"], strict=True):
            members[there["labels"][place]].append(phrase)
        expected = {word: [word, *here.synonyms.get(word, [])] for word in here.words} | here.groups
        assert members == expected
        assert len(there["phrases"]) == here.num_phrases


def test_what_the_page_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="fgaseg page"):
        describe_model(tiny_model(**TRAINING_FREE), tiny_processor())
    processor = tiny_processor()
    processor.image_processor = FGASegImageProcessorPil(size={"shortest_edge": 32})
    with pytest.raises(ValueError, match="shortest_edge"):
        describe_model(tiny_model(), processor)


def test_the_runtime_is_the_pinned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pinned_runtime()["files"]
    assert isinstance(files, dict) and all(len(digest) == 64 for digest in files.values())
    with pytest.raises(ValueError, match="unpacked"):
        write_runtime(tmp_path / "out", tmp_path)
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    with pytest.raises(ValueError, match="very version"):
        write_runtime(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
    own = {name: hashlib.sha256(name.encode()).hexdigest() for name in files}
    monkeypatch.setattr(
        "fgaseg_hf.export.web_runtime.pinned_runtime", lambda: {"package": "p", "version": "1", "files": own}
    )
    assert [path.read_bytes() for path in write_runtime(tmp_path / "out", tmp_path)] == [
        name.encode() for name in files
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"no npm here"):
        write_runtime(tmp_path / "out")


def test_weights_of_half_precision_are_stored_in_half(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    exact = rng.standard_normal((64, 64)).astype(np.float16).astype(np.float32)
    weights = {"exact": exact, "fine": rng.standard_normal((64, 64)).astype(np.float32)}
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64])  # noqa: E731
    nodes = [helper.make_node("MatMul", ["x", "exact"], ["h"]), helper.make_node("MatMul", ["h", "fine"], ["y"])]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "two", [value("x")], [value("y")], initializers)
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    picture = rng.standard_normal((64, 64)).astype(np.float32)

    def run() -> np.ndarray:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": picture})[0]

    before, size = run(), path.stat().st_size
    halve_exact_weights(path)
    assert np.array_equal(run(), before)
    assert 0.7 < path.stat().st_size / size < 0.8
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert kinds == {"exact.half": TensorProto.FLOAT16, "fine": TensorProto.FLOAT}
