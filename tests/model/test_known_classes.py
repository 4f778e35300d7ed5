# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A model that knows its classes: trained, evaluated, saved and loaded without a word in the batch."""

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from tiny_models import TRAINING_FREE, tiny_inputs, tiny_model, tiny_processor, tiny_vocabulary
from torch import nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, AutoProcessor, pipeline

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegVocabulary
from fgaseg_hf.model.known_classes import known_class_names
from fgaseg_hf.model.losses import segmentation_loss

NAMES = {0: "tree", 1: "red car", 2: "sky"}
IDS = {name: index for index, name in NAMES.items()}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


def save_without_names(folder: Path, templates: list[str] | None = None, **fields: Any) -> Path:
    tiny_model(**fields).save_pretrained(folder)
    tiny_processor(prompt_templates=templates).save_pretrained(folder)
    return folder


def load(folder: Path, **kwargs: Any) -> FGASegForSemanticSegmentation:
    return AutoModelForSemanticSegmentation.from_pretrained(folder, **kwargs)


def some_labels() -> torch.Tensor:
    labels = torch.randint(0, 3, (2, 40, 30), generator=torch.Generator().manual_seed(0))
    labels[:, :4] = 255
    return labels


@pytest.mark.parametrize("templates", [None, ["a {}", "A photo of a {} in the scene"]], ids=["one", "several"])
def test_names_become_words_in_either_way_of_giving_them(tmp_path: Path, templates: list[str] | None) -> None:
    folder = save_without_names(tmp_path, templates)
    inputs = AutoProcessor.from_pretrained(folder)(text=list(NAMES.values()), return_tensors="pt")
    pixel_values = tiny_inputs()["pixel_values"]
    by_argument = load(folder, id2label=NAMES, label2id=IDS)
    config = AutoConfig.from_pretrained(folder, id2label=NAMES, label2id={name: str(i) for name, i in IDS.items()})
    by_config = load(folder, config=config)
    without = load(folder)
    assert without.vocabulary is None
    with torch.no_grad():
        expected = without(pixel_values, **inputs).logits
        for model in (by_argument, by_config):
            torch.testing.assert_close(model(pixel_values).logits, expected, **TOLERANCE)
            # Words at the call come first.
            other = AutoProcessor.from_pretrained(folder)(text=["sky"], return_tensors="pt")
            assert model(pixel_values, **other).logits.shape[1] == 1
            assert model.config.id2label == NAMES


@pytest.mark.parametrize("trainable_clip", ["none", "query_value", "all"])
@pytest.mark.parametrize("fields", [{}, TRAINING_FREE], ids=["fgaseg", "training_free"])
def test_losses_and_gradients_are_those_of_words_in_the_batch(
    tmp_path: Path, trainable_clip: Any, fields: dict[str, Any]
) -> None:
    if fields and trainable_clip == "none":
        pytest.skip("there is nothing to train")
    folder = save_without_names(tmp_path, trainable_clip=trainable_clip, **fields)
    words = AutoProcessor.from_pretrained(folder)(text=list(NAMES.values()), return_tensors="pt")
    pixel_values, labels = tiny_inputs()["pixel_values"], some_labels()
    weights = torch.tensor([1.0, 2.0, 0.5])
    known, given = load(folder, id2label=NAMES, label2id=IDS).train(), load(folder).train()
    # Accumulated over two batches of one.
    for model, inputs in ((known, {}), (given, words)):
        for picture in range(2):
            batch = {"pixel_values": pixel_values[picture, None], "labels": labels[picture, None]}
            output = model(**batch, **inputs, class_weights=weights)
            output.loss.backward()
    other = known(pixel_values[1:], labels=labels[1:], class_weights=weights)
    for name in ("loss", "segmentation_loss", "alignment_loss", "auxiliary_losses"):
        if output.get(name) is not None:
            torch.testing.assert_close(other[name], output[name], **TOLERANCE)
    gradients = dict(known.named_parameters())
    assert known.trainable_parameter_names() == given.trainable_parameter_names()
    for name, parameter in given.named_parameters():
        assert (parameter.grad is None) == (gradients[name].grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name].grad, parameter.grad, **TOLERANCE)


def train_known_and_given(rank: int, folder: Path) -> None:
    """Trains on a picture of one's own beside another process, twice; writes losses and gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    words = AutoProcessor.from_pretrained(folder)(text=list(NAMES.values()), return_tensors="pt")
    pixel_values, labels = tiny_inputs(batch_size=4)["pixel_values"], some_labels().repeat(2, 1, 1)
    found: dict[str, torch.Tensor] = {}
    for trainable_clip in ("none", "query_value"):
        for kind, inputs in (("known", {}), ("given", words)):
            names = {"id2label": NAMES, "label2id": IDS} if kind == "known" else {}
            model = load(folder, **names).train()
            model.set_trainable_clip(trainable_clip)
            wrapped = nn.parallel.DistributedDataParallel(model)
            for place in (rank, 2 + rank):
                # The first is accumulated without being shared.
                with wrapped.no_sync() if place == rank else nullcontext():
                    output = wrapped(pixel_values[place, None], labels=labels[place, None], **inputs)
                    output.loss.backward()
                found[f"{trainable_clip}/{kind}/loss {place}"] = output.loss.detach()
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    found[f"{trainable_clip}/{kind}/{name}"] = parameter.grad
    torch.save(found, folder / f"found-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_losses_and_gradients_are_those_of_words_in_the_batch_in_two_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train_known_and_given, (save_without_names(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"found-{rank}.pt") for rank in range(2))
    for found in (first, second):
        known = {name: values for name, values in found.items() if "/known/" in name}
        assert len(known) == len(found) / 2
        for name, values in known.items():
            torch.testing.assert_close(values, found[name.replace("/known/", "/given/")], **TOLERANCE)
    gradients = [name for name in first if "/loss " not in name]
    # Shared: both processes have the mean of both, though each saw another picture.
    assert all(torch.equal(first[name], second[name]) for name in gradients)
    assert first["none/known/loss 0"] != second["none/known/loss 1"]
    learning = "fgaseg.text_model.encoder.layers.0.self_attn.q_proj.weight"
    assert first[f"query_value/known/{learning}"].abs().sum() > 0
    assert f"none/known/{learning}" not in first


def test_words_are_encoded_once_and_anew_when_the_text_tower_has_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_without_names(tmp_path / "start")
    model = load(folder, id2label=NAMES, label2id=IDS)
    pixel_values, calls = tiny_inputs()["pixel_values"], []
    encode = model.get_text_embeddings
    monkeypatch.setattr(model, "get_text_embeddings", lambda *args: calls.append(1) or encode(*args))
    with torch.no_grad():
        first = model(pixel_values).logits
        # Moved there and back: nothing about the words has changed.
        assert torch.equal(model.to(torch.float64).to(torch.float32)(pixel_values).logits, first)
    assert calls == []
    model.set_trainable_clip("none")
    model.train()(pixel_values, labels=some_labels()).loss.backward()
    assert calls == []
    model.set_trainable_clip("query_value")
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    model(pixel_values, labels=some_labels()).loss.backward()
    assert len(calls) == 1
    optimizer.step()
    model.eval()
    with torch.inference_mode():
        found = model(pixel_values).logits
        assert torch.equal(model(pixel_values).logits, found)
    assert len(calls) == 2
    # And trained on after that.
    model.train()(pixel_values, labels=some_labels()).loss.backward()
    # What is saved is what the text tower now makes of the words.
    model.eval().save_pretrained(tmp_path / "trained")
    again = load(tmp_path / "trained")
    with torch.no_grad():
        torch.testing.assert_close(again(pixel_values).logits, found, **TOLERANCE)
        words = tiny_processor()(text=list(NAMES.values()), return_tensors="pt")
        torch.testing.assert_close(found, again(pixel_values, **words).logits, **TOLERANCE)


def test_what_is_saved_answers_for_its_classes_and_for_new_words(tmp_path: Path) -> None:
    folder = save_without_names(tmp_path / "start", templates=["a {}"])
    model = load(folder, id2label=NAMES, label2id=IDS)
    output = tmp_path / "output"
    model.save_pretrained(output)
    with torch.no_grad():
        pixel_values = tiny_inputs()["pixel_values"]
        assert torch.equal(load(output)(pixel_values).logits, model(pixel_values).logits)
    # As Trainer saves, which was given the image processor alone.
    tiny_processor().image_processor.save_pretrained(output)
    processor = AutoProcessor.from_pretrained(output)
    assert processor.prompt_templates == ["a {}"]
    assert processor(text=["sky", "a new word"], return_tensors="pt")["input_ids"].shape[0] == 2
    labels = {segment["label"] for segment in pipeline("image-segmentation", str(output))(Image.new("RGB", (30, 40)))}
    assert labels and labels <= set(NAMES.values())
    # Loaded and saved once more, and with a processor that lay there first.
    load(output).save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (output / "tokenizer.json").read_bytes()
    before = (folder / "processor_config.json").read_bytes()
    model.save_pretrained(folder)
    assert (folder / "processor_config.json").read_bytes() == before


def test_other_names_replace_those_that_were_saved(tmp_path: Path) -> None:
    folder = save_without_names(tmp_path)
    model = load(folder, id2label=NAMES, label2id=IDS)
    model.save_pretrained(folder)
    assert load(folder).vocabulary == model.vocabulary
    other = load(folder, id2label={0: "sea", 1: "sky"}, label2id={"sea": 0, "sky": 1})
    assert other.vocabulary.labels == ["sea", "sky"]
    assert load(folder, vocabulary_key=None).vocabulary is None
    model.set_vocabulary(None)
    model.save_pretrained(folder)
    assert load(folder).vocabulary is None


def test_phrases_are_merged_before_each_loss() -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = tiny_vocabulary().encode(model, processor)
    model.set_vocabulary(vocabulary)
    model.train()
    pixel_values = tiny_inputs()["pixel_values"]
    labels = torch.arange(2 * 20 * 20).view(2, 20, 20) % len(vocabulary.labels)
    output = model(pixel_values, labels=labels)
    words = processor(text=vocabulary.phrases, return_tensors="pt")
    places = torch.zeros(2, 20, 20, dtype=torch.long)
    phrases = model(pixel_values, **words, labels=places)
    maps = [phrases.logits, *phrases.auxiliary_logits]
    losses = [segmentation_loss(model.vocabulary_head(logits), labels, model.config) for logits in maps]
    torch.testing.assert_close(output.segmentation_loss, losses[0], **TOLERANCE)
    torch.testing.assert_close(torch.stack(output.auxiliary_losses), torch.stack(losses[1:]), **TOLERANCE)
    assert output.alignment_logits.shape[1] == len(vocabulary.labels)
    output.loss.backward()
    assert model.fgaseg.text_model.encoder.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0


def test_a_vocabulary_of_before_predicts_and_says_what_training_needs() -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = tiny_vocabulary().encode(model, processor)
    encoding = replace(vocabulary.encoding, probe_input_ids=vocabulary.encoding.probe_input_ids[:4])
    model.set_vocabulary(replace(vocabulary, encoding=encoding))
    pixel_values, labels = tiny_inputs()["pixel_values"], torch.zeros(2, 8, 8, dtype=torch.long)
    with torch.no_grad():
        logits = model(pixel_values).logits
    with pytest.raises(ValueError, match="set it anew"):
        model.train()(pixel_values, labels=labels)
    model.set_trainable_clip("none")
    assert model(pixel_values, labels=labels).loss.requires_grad
    model.set_vocabulary(model.vocabulary.encode(model, processor))
    model.set_trainable_clip("all")
    assert model(pixel_values, labels=labels).loss.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(pixel_values).logits, logits, **TOLERANCE)


def test_placeholders_are_no_names(tmp_path: Path) -> None:
    folder = save_without_names(tmp_path)
    model = load(folder, num_labels=7)
    assert model.vocabulary is None and known_class_names(model.config) is None
    with pytest.raises(ValueError, match="no class names"):
        model(tiny_inputs()["pixel_values"])


@pytest.mark.parametrize(
    ("id2label", "message"),
    [
        ({0: "sky", 1: "Sky"}, "`id2label` cannot be used. The class name 'Sky' is given twice"),
        ({0: "sky", 1: " "}, "is blank"),
        ({1: "sky", 2: "tree"}, "none of the id 0"),
        ({0: "sky", 1: "LABEL_1"}, "the placeholder 'LABEL_1' for the id 1"),
    ],
)
def test_names_that_cannot_be_used_are_refused(tmp_path: Path, id2label: dict[int, str], message: str) -> None:
    folder = save_without_names(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(folder, id2label=id2label, label2id={name: index for index, name in id2label.items()})


def test_what_is_missing_is_said_in_a_sentence(tmp_path: Path) -> None:
    folder = save_without_names(tmp_path / "start")
    model = load(folder, id2label=NAMES, label2id=IDS)
    pixel_values = tiny_inputs()["pixel_values"]
    with pytest.raises(ValueError, match="`labels` holds 3, but there are 3 classes"):
        model(pixel_values, labels=torch.full((2, 8, 8), 3))
    with pytest.raises(ValueError, match="`class_indices` are places among class names"):
        model(pixel_values, class_indices=torch.zeros(2, 1, dtype=torch.long))
    model.config.semantic_loss_ignore_index = 2
    with pytest.raises(ValueError, match="cannot mean 'ignored'"):
        model(pixel_values, labels=some_labels())
    # Weights alone.
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(ValueError, match="cannot be made words of the model: .* has no tokenizer"):
        load(bare, id2label=NAMES, label2id=IDS)
    assert load(bare).vocabulary is None


def test_one_vocabulary_or_another_gives_the_same_maps() -> None:
    model, processor = tiny_model(), tiny_processor()
    pixel_values = tiny_inputs()["pixel_values"]
    names = list(NAMES.values())
    model.set_vocabulary(FGASegVocabulary(names).encode(model, processor))
    with torch.no_grad():
        first = model(pixel_values).logits
        model.set_vocabulary(FGASegVocabulary(names[::-1]).encode(model, processor))
        assert torch.equal(model(pixel_values).logits.flip(1), first)
