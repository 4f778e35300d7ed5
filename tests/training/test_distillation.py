# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Distilling a sentence encoder: the dictionary, the teacher's space, the start of the tower, a short run."""

import json
from pathlib import Path

import pytest
import torch
from distil_text import main
from safetensors.torch import load_file
from sentence_teacher import PhraseTeacher, Projection, SentenceEncoder
from text_student import TextStudent
from tiny_models import tiny_model, tiny_processor
from transformers import BertConfig, BertModel, BertTokenizer
from word_tokenizer import learn_word_tokenizer
from wordnet_nouns import WordNetNouns

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor

WORDS = ["cat", "dog", "animal", "palm", "hand", "tree", "oak", "pine", "red", "blue", "photo", "of", "a", "cats"]
# WordNet's form: offset, lexicographer file, type, words, pointers, definition.
DATA = """  1 a line of the licence
00000001 05 n 02 animal 0 beast 0 000 | a living thing that moves; "wild animals"
00000002 05 n 01 cat 0 001 @ 00000001 n 0000 | a small animal with soft fur
00000003 05 n 01 dog 0 001 @ 00000001 n 0000 | an animal that barks
00000004 08 n 01 palm 0 000 | the inner part of the hand
00000005 20 n 02 palm 1 palm_tree 0 001 @ 00000006 n 0000 | a tree with large leaves
00000006 20 n 01 tree 0 000 | a tall plant
00000007 20 n 01 oak 0 001 @ 00000006 n 0000 | a tree with acorns
00000008 20 n 01 pine 0 001 @ 00000006 n 0000 | a tree with needles
"""
INDEX = """  1 a line of the licence
animal n 1 0 1 0 00000001
beast n 1 0 1 0 00000001
cat n 1 0 1 0 00000002
dog n 1 0 1 0 00000003
palm n 2 0 2 0 00000004 00000005
palm_tree n 1 0 1 0 00000005
tree n 1 0 1 0 00000006
oak n 1 0 1 0 00000007
pine n 1 0 1 0 00000008
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    (folder / "data.noun").write_text(DATA)
    (folder / "index.noun").write_text(INDEX)
    return folder


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    vocab = {token: place for place, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocab).save_pretrained(folder)
    return folder


def test_dictionary_gives_the_first_sense_that_can_be_seen(wordnet: Path) -> None:
    nouns = WordNetNouns(wordnet)
    palm = nouns.entry("palm")
    assert palm is not None
    assert (palm.synonyms, palm.broader, palm.definition) == (
        ("palm", "palm tree"),
        ("tree",),
        "a tree with large leaves",
    )
    assert nouns.entry("Cats") == nouns.entry("cat")
    assert nouns.entry("cactus") is None
    with pytest.raises(ValueError, match=r"lacks data\.noun"):
        WordNetNouns(wordnet / "data.noun")


def test_the_dictionary_and_the_adjective_draw_a_phrase(wordnet: Path, encoder_folder: Path) -> None:
    encoder = SentenceEncoder(str(encoder_folder))
    plain = PhraseTeacher(encoder, None)
    drawn = PhraseTeacher(encoder, WordNetNouns(wordnet), weights=(0.0, 5.0, 0.0))
    tree, oak, red_oak = plain.encode(["tree", "oak", "red oak"])
    assert drawn.encode(["oak"])[0] @ tree > oak @ tree
    coloured = PhraseTeacher(encoder, None, adjectives=["red"], adjective_weight=5.0).encode(["red oak"])[0]
    red = encoder.encode(["red"])[0]
    assert coloured @ red > red_oak @ red
    torch.testing.assert_close(plain.encode(["red oak"])[0], encoder.encode(["a photo of a red oak"])[0])


def test_projection_is_turned_to_where_phrases_lay() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(40, 12, generator=generator), dim=-1)
    projection = Projection(vectors, torch.ones(40), 6)
    before = projection(vectors)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    projection.turn_towards(vectors, before @ rotation)
    torch.testing.assert_close(projection(vectors), before @ rotation, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(projection(vectors) @ projection(vectors).T, before @ before.T, atol=1e-4, rtol=1e-4)


def test_tower_starts_near_the_vectors_of_single_words() -> None:
    torch.manual_seed(0)
    tokenizer = learn_word_tokenizer(dict.fromkeys(WORDS, 3), 2000)
    assert all(tokenizer.tokenize(word) == [word + "</w>"] for word in WORDS)
    vectors = torch.nn.functional.normalize(torch.randn(len(WORDS), 16), dim=-1)
    student = TextStudent(tokenizer, WORDS, vectors, hidden_size=64)
    with torch.no_grad():
        similarities = student(WORDS) @ vectors.T
    own, others = similarities.diagonal(), similarities[~torch.eye(len(WORDS), dtype=torch.bool)]
    assert own.mean() > others.mean() + 0.15
    with pytest.raises(ValueError, match="widen it"):
        TextStudent(tokenizer, WORDS, vectors, hidden_size=8)


def test_a_short_run_replaces_the_text_tower_alone(wordnet: Path, encoder_folder: Path, tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    (tmp_path / "names.txt").write_text("cat\ndog\nred tree\nblue oak\nred palm\n" + "\n".join(WORDS[:8]))
    arguments = {
        "model": tmp_path / "model",
        "teacher": encoder_folder,
        "wordnet": wordnet,
        "names": tmp_path / "names.txt",
        "output_dir": tmp_path / "out",
        "max_steps": 3,
        "batch_size": 8,
        "hidden_size": 64,
        "vocab_size": 1000,
    }
    main([word for name, value in arguments.items() for word in (f"--{name}", str(value))])
    joined = FGASegForSemanticSegmentation.from_pretrained(tmp_path / "out")
    for name, weights in model.state_dict().items():
        if not name.startswith(("fgaseg.text_model.", "fgaseg.text_projection.")):
            torch.testing.assert_close(joined.state_dict()[name], weights)
    processor = FGASegProcessor.from_pretrained(tmp_path / "out")
    assert joined.get_text_embeddings(**processor(text=["a cat"], return_tensors="pt")).shape == (1, 16)
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text())["truncation"] is None
    phrases = (tmp_path / "out" / "phrases.txt").read_text().splitlines()
    vectors = load_file(tmp_path / "out" / "phrases.safetensors")["vectors"]
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(phrases)))
    assert "minutes" in json.loads((tmp_path / "out" / "distillation.json").read_text())
