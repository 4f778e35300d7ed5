# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
import build_tokenizer
import pytest
from scene_vocabulary import CLASS_NAMES
from transformers import AutoTokenizer, CLIPTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer.build_tokenizer()


def test_every_word_of_the_scenes_is_one_token(tokenizer):
    for name in CLASS_NAMES:
        prompt = build_tokenizer.PROMPT_TEMPLATE.format(name)
        ids = tokenizer(prompt).input_ids
        assert len(ids) == len(prompt.split()) + 2
        assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id


def test_ids_are_bytes_then_word_ends_then_merges_then_special_tokens(tokenizer):
    assert 700 <= len(tokenizer) <= 900
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert all(len(token) == 1 for token in tokens[:256])
    assert tokens[256:512] == [token + "</w>" for token in tokens[:256]]
    assert tokens[-2:] == ["<|startoftext|>", "<|endoftext|>"]
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == len(tokenizer) - 1


@pytest.mark.parametrize("text", ["red car", "zebra crossing", "über", "東京 tower", "🚲", "don't panic!", "x"])
def test_any_text_comes_back(text, tokenizer):
    ids = tokenizer(text).input_ids
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_capitals_and_spaces_make_no_difference(tokenizer):
    assert tokenizer("Red   CAR").input_ids == tokenizer("red car").input_ids


def test_padding_and_truncation(tokenizer):
    batch = tokenizer(["sky", "striped ball"], padding=True)
    assert batch.input_ids[0][2:] == [tokenizer.eos_token_id] * 2
    assert batch.attention_mask == [[1, 1, 1, 0], [1, 1, 1, 1]]
    cut = tokenizer("car " * 50, truncation=True).input_ids
    assert len(cut) == tokenizer.model_max_length == 32 and cut[-1] == tokenizer.eos_token_id


def test_command_line_writes_a_folder_that_loads(tmp_path, tokenizer):
    assert build_tokenizer.main(["--out", str(tmp_path / "tokenizer")]) == 0
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert isinstance(loaded, CLIPTokenizer)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.model_max_length == 32
    for text in ("A photo of a red car in the scene", "unheard-of words"):
        assert loaded(text).input_ids == tokenizer(text).input_ids


def test_own_class_names(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("traffic light\nÉtoile\n", encoding="utf-8")
    assert build_tokenizer.main(["--out", str(tmp_path / "out"), "--class_names", str(names)]) == 0
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(loaded("a traffic light").input_ids) == 5
    assert len(loaded("étoile").input_ids) == 3


@pytest.mark.parametrize("content", [None, "", "\n 12\n"])
def test_bad_input_is_refused(content, tmp_path, capsys):
    names = tmp_path / "names.txt"
    if content is not None:
        names.write_text(content, encoding="utf-8")
    assert build_tokenizer.main(["--out", str(tmp_path / "out"), "--class_names", str(names)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_too_short_prompts_are_refused():
    with pytest.raises(ValueError, match="model_max_length"):
        build_tokenizer.build_tokenizer(model_max_length=2)
