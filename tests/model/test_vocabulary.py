# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Vocabularies: names, synonyms, groups and the background, and their files."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model, tiny_processor, tiny_vocabulary

from fgaseg_hf import FGASegVocabulary
from fgaseg_hf.model.vocabulary_files import VOCABULARY_FILE
from fgaseg_hf.model.vocabulary_head import FGASegVocabularyHead


def embeddings_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("vocabulary-*.safetensors"))


def test_labels_phrases_and_how_they_belong_together() -> None:
    assert tiny_vocabulary().labels == ["vehicle", "sofa", "sky", "none of these"]
    assert tiny_vocabulary().phrases == ["bus", "car", "couch", "heaven", "settee", "sky", "sofa"]
    assert [tiny_vocabulary().labels[place] for place in tiny_vocabulary().label_of_phrase] == [
        *("vehicle", "vehicle", "sofa", "sky", "sofa", "sky", "sofa")
    ]
    assert replace(tiny_vocabulary(), groups={}).labels == ["car", "bus", "sofa", "sky", "none of these"]
    assert replace(tiny_vocabulary(), background="Vehicle").labels == ["vehicle", "sofa", "sky"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"names": []}, "nothing among `names`"),
        ({"names": "car"}, "give a list"),
        ({"names": ["car", " "]}, "at least one word"),
        ({"names": ["car", 3]}, "strings"),
        ({"names": ["red car", "Red  Car"]}, "twice"),
        ({"names": ["car", "bus"], "synonyms": {"tram": ["trolley"]}}, "'tram', which is none"),
        ({"names": ["car"], "synonyms": {"car": "auto"}}, "give a list"),
        ({"names": ["car"], "synonyms": {"car": ["auto", "auto"]}}, "twice"),
        ({"names": ["car", "bus"], "synonyms": {"car": ["bus"]}}, "stands for both 'car' and 'bus'"),
        ({"names": ["car", "bus"], "groups": {"vehicle": ["tram"]}}, "'tram', which is none"),
        ({"names": ["car", "bus"], "groups": {"vehicle": []}}, "nothing among the group"),
        ({"names": ["car", "bus"], "groups": {"a": ["car"], "b": ["car"]}}, "groups 'a' and 'b'"),
        ({"names": ["car", "bus"], "groups": {"bus": ["car"]}}, "name of another label"),
        ({"names": ["car"], "background": ""}, "at least one word"),
        ({"names": ["car"], "background": "other", "background_threshold": 1.0}, "between 0 and 1"),
        ({"names": ["car"], "repeated_names": "keep"}, "repeated_names"),
        ({"names": 5}, "give a list"),
        ({"names": ["caf\u00e9", "cafe\u0301"]}, "twice"),
        ({"names": ["car\tbus"]}, "control character"),
        ({"names": ["car", "\ud800"]}, "half a character"),
        ({"names": ["car"], "synonyms": ["auto"]}, "dictionary"),
        ({"names": ["car"], "groups": {5: ["car"]}}, "strings"),
        ({"names": ["car"], "background": "other", "background_threshold": "0.5"}, "'0.5'"),
    ],
)
def test_what_clashes_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FGASegVocabulary(**arguments)


def test_nothing_is_no_synonym_and_no_group() -> None:
    assert FGASegVocabulary(["car"], synonyms=None, groups=None) == FGASegVocabulary(["car"])


def test_embeddings_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = tiny_vocabulary().encode(model, processor)
    model.fgaseg.text_projection.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="not numbers of 'bus'"):
        tiny_vocabulary().encode(model, processor)
    assert vocabulary.encoding is not None
    vocabulary.encoding.embeddings[1, 2] = torch.inf
    vocabulary.save(tmp_path)
    with pytest.raises(ValueError, match="no table of numbers"):
        FGASegVocabulary.load(tmp_path)


def test_repeated_names_are_merged_as_asked() -> None:
    merged = FGASegVocabulary(
        ["red car", "sky", "Red  Car"],
        synonyms={"red car": ["red auto"], "RED CAR": ["Red Auto", "red limousine"]},
        repeated_names="merge",
    )
    assert merged.names == ["red car", "sky"]
    assert merged.synonyms == {"red car": ["red auto", "red limousine"]}
    # One phrase for two labels is no repetition but a contradiction.
    with pytest.raises(ValueError, match="stands for both"):
        FGASegVocabulary(["car", "bus"], synonyms={"car": ["bus"]}, repeated_names="merge")


def test_templates_of_the_vocabulary() -> None:
    model, processor = tiny_model(), tiny_processor()
    templates = ["the {}", "a {} here"]
    vocabulary = FGASegVocabulary(["car", "sky"], templates=templates).encode(model, processor)
    expected = model.get_text_embeddings(
        **tiny_processor(prompt_templates=templates)(text=["car", "sky"], return_tensors="pt")
    )
    torch.testing.assert_close(vocabulary.embeddings, expected)
    assert processor.prompt_templates != templates
    with pytest.raises(ValueError, match="exactly once"):
        FGASegVocabulary(["car"], templates=["no place"]).encode(model, processor)


@pytest.mark.parametrize("encoded", [True, False])
def test_files_give_back_the_vocabulary(tmp_path: Path, encoded: bool) -> None:
    vocabulary = replace(tiny_vocabulary(), templates=["the {}"], background_threshold=0.25)
    if encoded:
        vocabulary = vocabulary.encode(tiny_model(), tiny_processor())
    vocabulary.save(tmp_path)
    loaded = FGASegVocabulary.load(tmp_path)
    assert loaded == vocabulary
    assert loaded.labels == vocabulary.labels
    assert loaded.is_encoded is encoded
    if encoded:
        assert torch.equal(loaded.embeddings, vocabulary.embeddings)
        assert loaded.key == vocabulary.key
        assert set(load_file(embeddings_files(tmp_path)[0])) == {"embeddings", "probe_input_ids"}
    else:
        with pytest.raises(ValueError, match="not encoded"):
            _ = loaded.embeddings


def test_an_interrupted_save_leaves_the_old_vocabulary_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = tiny_model(), tiny_processor()
    old = tiny_vocabulary().encode(model, processor)
    new = FGASegVocabulary(["boat"]).encode(model, processor)
    old.save(tmp_path)
    replace_file = Path.replace
    # Cut off at each of the two files.
    for steps in (0, 1):
        left = [steps]

        def cut_off(path: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise OSError("no space left")
            left[0] -= 1
            return replace_file(path, target)

        monkeypatch.setattr(Path, "replace", cut_off)
        with pytest.raises(OSError, match="no space"):
            new.save(tmp_path)
        monkeypatch.undo()
        loaded = FGASegVocabulary.load(tmp_path)
        assert loaded == tiny_vocabulary()
        assert torch.equal(loaded.embeddings, old.embeddings)
        assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))
    new.save(tmp_path)
    assert FGASegVocabulary.load(tmp_path) == new
    assert len(embeddings_files(tmp_path)) == 1


def test_broken_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    tiny_vocabulary().encode(tiny_model(), tiny_processor()).save(tmp_path)
    embeddings = embeddings_files(tmp_path)[0]
    content = embeddings.read_bytes()
    for broken in (content[:-8], content[:-1] + bytes([content[-1] ^ 1]), b""):
        embeddings.write_bytes(broken)
        with pytest.raises(ValueError, match="no whole vocabulary.*changed or cut off"):
            FGASegVocabulary.load(tmp_path)
    embeddings.unlink()
    with pytest.raises(ValueError, match="no whole vocabulary"):
        FGASegVocabulary.load(tmp_path)
    embeddings.write_bytes(content)

    path = tmp_path / VOCABULARY_FILE
    description = json.loads(path.read_text())
    description["encoding"]["embeddings_file"] = "../secret.safetensors"
    for broken_text in (
        json.dumps(description),
        json.dumps({"format_version": 1}),
        json.dumps({**description, "format_version": 2}),
        json.dumps({**description, "names": 3}),
        "[]",
        "{",
    ):
        path.write_text(broken_text)
        with pytest.raises(ValueError, match="no whole vocabulary"):
            FGASegVocabulary.load(tmp_path)
    with pytest.raises(ValueError, match="no whole vocabulary"):
        FGASegVocabulary.load(tmp_path / "nowhere")


def test_ten_thousand_names_load_in_under_a_second(tmp_path: Path) -> None:
    model, processor = tiny_model(projection_dim=512), tiny_processor()
    vocabulary = FGASegVocabulary([f"thing {number}" for number in range(40)]).encode(model, processor)
    assert vocabulary.encoding is not None
    names = [f"thing {number:05d}" for number in range(10_000)]
    encoding = replace(vocabulary.encoding, phrases=names, embeddings=torch.randn(10_000, 512))
    replace(vocabulary, names=names, encoding=encoding).save(tmp_path)
    # Of the processor's time, so that what else the machine does makes no difference.
    start = time.process_time()
    loaded = FGASegVocabulary.load(tmp_path)
    head = FGASegVocabularyHead(loaded)
    assert time.process_time() - start < 1
    assert head.text_embeddings.shape == (10_000, 512)
