"""Vocabularies: names, synonyms, groups and the background; encoded once, saved whole, set on a model."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_config, tiny_inputs, tiny_model, tiny_processor

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegVocabulary
from fgaseg_hf.vocabulary import (
    VOCABULARY_FILE,
    FGASegVocabularyHead,
    encode_class_names,
    hash_tokenizer,
    is_vocabulary_file,
)

VOCABULARY = FGASegVocabulary(
    ["car", "bus", "sofa", "sky"],
    synonyms={"sofa": ["couch", "settee"], "Sky": ["heaven"]},
    groups={"vehicle": ["bus", "CAR"]},
    background="none of these",
)


def embeddings_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("vocabulary-*.safetensors"))


class CountingProcessor:
    """A processor that notes which names it was given."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.prompt_templates = processor, processor.prompt_templates
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.batches: list[list[str]] = []

    def __call__(self, text: list[str], **kwargs: Any) -> Any:
        self.batches.append(text)
        return self.processor(text=text, **kwargs)


def test_labels_phrases_and_how_they_belong_together() -> None:
    assert VOCABULARY.labels == ["vehicle", "sofa", "sky", "none of these"]
    assert VOCABULARY.phrases == ["bus", "car", "couch", "heaven", "settee", "sky", "sofa"]
    assert [VOCABULARY.labels[place] for place in VOCABULARY.label_of_phrase] == [
        *("vehicle", "vehicle", "sofa", "sky", "sofa", "sky", "sofa")
    ]
    assert replace(VOCABULARY, groups={}).labels == ["car", "bus", "sofa", "sky", "none of these"]
    assert replace(VOCABULARY, background="Vehicle").labels == ["vehicle", "sofa", "sky"]


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
    ],
)
def test_what_clashes_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FGASegVocabulary(**arguments)


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


def test_logits_of_phrases_become_logits_of_labels() -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = VOCABULARY.encode(model, processor)
    pixel_values = tiny_inputs()["pixel_values"]
    inputs = processor(text=vocabulary.phrases, return_tensors="pt")
    with torch.inference_mode():
        logits = dict(zip(vocabulary.phrases, model(pixel_values, **inputs).logits.unbind(1), strict=True))
        model.set_vocabulary(vocabulary)
        outputs = model(pixel_values)
        as_tuple = model(pixel_values, return_dict=False)
    expected = [
        torch.maximum(logits["car"], logits["bus"]),
        torch.stack([logits["sofa"], logits["couch"], logits["settee"]]).amax(0),
        torch.maximum(logits["sky"], logits["heaven"]),
        torch.zeros_like(logits["sky"]),  # probability 0.5
    ]
    torch.testing.assert_close(outputs.logits, torch.stack(expected, dim=1), atol=1e-6, rtol=1e-6)
    # Everything else has one row a phrase and would mislead.
    assert list(outputs) == ["logits"]
    assert torch.equal(as_tuple[0], outputs.logits)
    assert model.config.id2label == {0: "vehicle", 1: "sofa", 2: "sky", 3: "none of these"}
    assert model.config.label2id["sky"] == 2
    assert model.config.num_labels == 4


def test_background_wins_where_no_label_reaches_the_threshold() -> None:
    vocabulary = FGASegVocabulary(["car", "sky"], background="other", background_threshold=0.7)
    head = FGASegVocabularyHead(vocabulary.encode(tiny_model(), tiny_processor()))
    probabilities = torch.tensor([[0.9, 0.6, 0.1, 0.69], [0.2, 0.71, 0.1, 0.5]])
    logits = torch.logit(probabilities)[None, :, None]
    assert head(logits).argmax(dim=1).tolist() == [[[0, 1, 2, 2]]]
    # A background that is a label too: its own words count there as well.
    vocabulary = replace(vocabulary, background="sky").encode(tiny_model(), tiny_processor())
    assert FGASegVocabularyHead(vocabulary)(logits).argmax(dim=1).tolist() == [[[0, 1, 1, 1]]]
    # Dropped classes stand at the lowest score and never win.
    logits[:] = torch.finfo(logits.dtype).min
    assert head(logits).argmax(dim=1).unique().tolist() == [2]


@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3}, {"class_limit": 4}])
def test_answers_do_not_depend_on_the_order_of_names(fields: dict[str, Any]) -> None:
    model, processor = tiny_model(**fields), tiny_processor()
    pixel_values = tiny_inputs()["pixel_values"]

    def label_logits(names: list[str]) -> dict[str, torch.Tensor]:
        vocabulary = replace(VOCABULARY, names=names)
        model.set_vocabulary(vocabulary.encode(model, processor))
        with torch.inference_mode():
            return dict(zip(vocabulary.labels, model(pixel_values).logits.unbind(1), strict=True))

    first = label_logits(VOCABULARY.names)
    for seed in range(3):
        names = random.Random(seed).sample(VOCABULARY.names, k=len(VOCABULARY.names))
        again = label_logits(names)
        # To the bit, so that no pixel changes its label.
        assert all(torch.equal(first[label], again[label]) for label in first)


def test_words_of_ones_own_are_answered_as_before() -> None:
    model, processor = tiny_model(), tiny_processor()
    inputs = tiny_inputs()
    before = model(**inputs)
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    after = model(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert set(before) == set(after)
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    assert model(**inputs, labels=labels).loss is not None
    with pytest.raises(ValueError, match="labels"):
        model(inputs["pixel_values"], labels=labels)
    model.set_vocabulary(None)
    assert model.vocabulary is None
    with pytest.raises(ValueError, match="text_embeddings"):
        model(inputs["pixel_values"])


def test_sliding_window_takes_the_vocabulary() -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    (probabilities,) = model.segment_with_sliding_window([torch.randn(3, 40, 50)], overlap=0.5)
    assert probabilities.shape == (4, 40, 50)


def test_the_head_moves_with_the_model_and_is_none_of_its_weights() -> None:
    model, processor = tiny_model(), tiny_processor()
    names_before = list(model.state_dict())
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    assert list(model.state_dict()) == names_before
    model.to(torch.bfloat16)
    assert model.vocabulary_head.text_embeddings.dtype == torch.bfloat16
    assert model.vocabulary_head.label_of_phrase.dtype == torch.int64
    assert model(tiny_inputs()["pixel_values"].bfloat16()).logits.dtype == torch.bfloat16


@pytest.mark.slow
def test_the_model_with_its_vocabulary_can_be_exported() -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    pixel_values = tiny_inputs()["pixel_values"]
    with torch.no_grad():
        exported = torch.export.export(model, (), {"pixel_values": pixel_values}, strict=False)
        torch.testing.assert_close(exported.module()(pixel_values=pixel_values).logits, model(pixel_values).logits)


def test_text_is_encoded_a_few_at_a_time_and_never_twice() -> None:
    model = tiny_model()
    processor = CountingProcessor(tiny_processor())
    names = [f"thing {number}" for number in range(50)]
    vocabulary = FGASegVocabulary(names).encode(model, processor, batch_size=8)
    processor.batches.pop(0)  # the probes
    assert max(map(len, processor.batches)) == 8
    assert sorted(sum(processor.batches, [])) == sorted(names)
    assert vocabulary.encoding is not None
    torch.testing.assert_close(
        vocabulary.embeddings,
        encode_class_names(model, processor, vocabulary.phrases, batch_size=1000),
        atol=1e-5,
        rtol=1e-5,
    )
    assert not vocabulary.embeddings.requires_grad

    processor.batches.clear()
    longer = replace(vocabulary, names=[*names, "new thing"])
    assert not longer.is_encoded
    longer = longer.encode(model, processor)
    assert processor.batches[1:] == [["new thing"]]
    assert replace(longer, names=names[:3], groups={"group": names[:2]}).is_encoded
    # Another text tower, tokenizer or template: everything anew.
    processor.batches.clear()
    assert replace(longer, templates=["the {}"]).is_encoded is False
    other_model = tiny_model(seed=1)
    assert longer.encode(other_model, processor).is_encoded
    assert sorted(sum(processor.batches[1:], [])) == sorted([*names, "new thing"])
    with pytest.raises(ValueError, match="batch_size"):
        vocabulary.encode(other_model, processor, batch_size=0)


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


def test_the_tokenizers_hash_does_not_depend_on_calls() -> None:
    tokenizer = tiny_processor().tokenizer
    before = hash_tokenizer(tokenizer)
    tokenizer(["one", "and two"], padding=True, truncation=True)
    assert hash_tokenizer(tokenizer) == before
    tokenizer.add_tokens(["newword"])
    assert hash_tokenizer(tokenizer) != before


def test_saved_and_loaded_with_the_checkpoint(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    pixel_values = tiny_inputs()["pixel_values"]
    expected = model(pixel_values).logits
    model.save_pretrained(tmp_path)
    assert len(embeddings_files(tmp_path)) == 1

    loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    assert torch.equal(loaded(pixel_values).logits, expected)
    assert loaded.vocabulary == VOCABULARY
    assert loaded.config.id2label == model.config.id2label
    loaded, report = FGASegForSemanticSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    # Saved again, and without the vocabulary.
    loaded.save_pretrained(tmp_path / "again")
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path / "again").vocabulary == VOCABULARY
    loaded.set_vocabulary(None)
    loaded.save_pretrained(tmp_path / "without")
    assert not (tmp_path / "without" / VOCABULARY_FILE).exists()
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path / "without").vocabulary is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_loaded_in_another_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    model.save_pretrained(tmp_path)
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path, dtype=dtype).vocabulary == VOCABULARY
    # Another text tower is told apart all the same.
    other = tiny_model(seed=1)
    other.config.vocabulary_key = model.config.vocabulary_key
    other.config.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path / "weights")
    (tmp_path / "weights" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="another text tower"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path, dtype=dtype)


def test_refused_for_another_text_tower(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = VOCABULARY.encode(model, processor)
    with pytest.raises(ValueError, match="not encoded"):
        model.set_vocabulary(VOCABULARY)
    with pytest.raises(ValueError, match="another text tower"):
        tiny_model(seed=1).set_vocabulary(vocabulary)
    with pytest.raises(ValueError, match="another text tower"):
        tiny_model(projection_dim=32).set_vocabulary(vocabulary)

    model.set_vocabulary(vocabulary)
    model.save_pretrained(tmp_path)
    other = tiny_model(seed=1)
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="another text tower"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path, vocabulary_key=None).vocabulary is None

    # One that is whole but belongs to something else, and none at all.
    VOCABULARY.encode(other, processor).save(tmp_path)
    with pytest.raises(ValueError, match="not the one that its checkpoint was saved with"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    (tmp_path / VOCABULARY_FILE).unlink()
    with pytest.raises(ValueError, match="no whole vocabulary"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path)


def test_trained_text_towers_are_saved_without_the_stale_vocabulary(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    key = model.config.vocabulary_key
    with torch.no_grad():
        model.fgaseg.text_model.encoder.layers[0].self_attn.q_proj.weight[0, 0] += 1
    model.save_pretrained(tmp_path)
    assert not (tmp_path / VOCABULARY_FILE).exists()
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path).vocabulary is None
    assert model.config.vocabulary_key == key


def test_a_configuration_alone_brings_no_vocabulary(tmp_path: Path) -> None:
    model = FGASegForSemanticSegmentation(tiny_config(vocabulary_key="0" * 64))
    model.save_pretrained(tmp_path)
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path).config.vocabulary_key is None


def test_vocabularies_upload_with_the_checkpoint(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(VOCABULARY.encode(model, processor))
    model.save_pretrained(tmp_path)
    # Transformers uploads what is not in this list, or younger than it says.
    known = model._get_files_timestamps(tmp_path)
    assert any(Path(name).name == "config.json" for name in known)
    assert not any(is_vocabulary_file(Path(name).name) for name in known)


@pytest.mark.parametrize("encoded", [True, False])
def test_files_give_back_the_vocabulary(tmp_path: Path, encoded: bool) -> None:
    vocabulary = replace(VOCABULARY, templates=["the {}"], background_threshold=0.25)
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
    old = VOCABULARY.encode(model, processor)
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
        assert loaded == VOCABULARY
        assert torch.equal(loaded.embeddings, old.embeddings)
        assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))
    new.save(tmp_path)
    assert FGASegVocabulary.load(tmp_path) == new
    assert len(embeddings_files(tmp_path)) == 1


def test_broken_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    VOCABULARY.encode(tiny_model(), tiny_processor()).save(tmp_path)
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


ENCODE_TEN_THOUSAND = """
import resource, sys
sys.path.insert(0, {tests!r})
from tiny_models import tiny_model, tiny_processor
from fgaseg_hf import FGASegVocabulary

model, processor = tiny_model(), tiny_processor()
FGASegVocabulary(["warm up"]).encode(model, processor)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
FGASegVocabulary([f"thing {{number}}" for number in range(10_000)]).encode(model, processor)
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of memory is counted in other units")
def test_ten_thousand_names_are_encoded_in_bounded_memory() -> None:
    script = ENCODE_TEN_THOUSAND.format(tests=str(Path(__file__).parent))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split()[-2:])
    assert after < 2 * 2**20, "2 GiB altogether"
    # All at once, the tiny tower's hidden states alone would take several times this.
    assert after - before < 96 * 2**10
