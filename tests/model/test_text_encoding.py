# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Text is encoded a few phrases at a time, never twice, and bound to its text tower."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model, tiny_processor

from fgaseg_hf import FGASegVocabulary
from fgaseg_hf.model.text_encoding import encode_class_names, hash_tokenizer


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


class CountingProcessor:
    """A processor that notes which names it was given."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.prompt_templates = processor, processor.prompt_templates
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.batches: list[list[str]] = []

    def __call__(self, text: list[str], **kwargs: Any) -> Any:
        self.batches.append(text)
        return self.processor(text=text, **kwargs)


def test_the_tokenizers_hash_does_not_depend_on_calls() -> None:
    tokenizer = tiny_processor().tokenizer
    before = hash_tokenizer(tokenizer)
    tokenizer(["one", "and two"], padding=True, truncation=True)
    assert hash_tokenizer(tokenizer) == before
    tokenizer.add_tokens(["newword"])
    assert hash_tokenizer(tokenizer) != before


ENCODE_TEN_THOUSAND = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny_models import tiny_model, tiny_processor
from fgaseg_hf import FGASegVocabulary

def peak_memory():
    # Of this process alone: what `getrusage` tells begins with the peak of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

model, processor = tiny_model(), tiny_processor()
FGASegVocabulary(["warm up"]).encode(model, processor)
before = peak_memory()
FGASegVocabulary([f"thing {{number}}" for number in range(10_000)]).encode(model, processor)
print(before, peak_memory())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of memory is counted in other units")
def test_ten_thousand_names_are_encoded_in_bounded_memory() -> None:
    script = ENCODE_TEN_THOUSAND.format(tests=str(Path(__file__).parent.parent))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split()[-2:])
    assert after < 2 * 2**20, "2 GiB altogether"
    # All at once, the tiny tower's hidden states alone would take several times this.
    assert after - before < 96 * 2**10
