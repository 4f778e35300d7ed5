# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which classes a training picture is asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_splits import NAMES

from fgaseg_hf.data.vocabulary_sampling import VocabularySampler


@settings(deadline=None, max_examples=50)
@given(present=st.sets(st.integers(0, 5)), size=st.integers(1, 6), seed=st.integers(0, 99), held_out=st.booleans())
def test_every_picture_gets_its_own_classes_and_others(present: set[int], size: int, seed: int, held_out: bool) -> None:
    names = [*NAMES, "green car", "green house"]
    sampler = VocabularySampler(names, size, ["green car", "green house"] if held_out else [])
    chosen = sampler(np.array(sorted(present), dtype=np.int64), np.random.default_rng(seed))
    assert chosen.dtype == np.int64
    assert len(chosen) == len(set(chosen.tolist()))
    own = set(chosen.tolist()) & present
    assert len(chosen) == size
    if len(present) <= sampler.max_own_classes:
        assert own == present
    else:
        num_others = len(names) - len(sampler.held_out) - len(present)
        assert len(own) == max(sampler.max_own_classes, size - num_others)
    if held_out:
        assert not {6, 7} & set(chosen.tolist())


def test_half_of_the_other_classes_share_a_word() -> None:
    names = ["red car", "blue car", "red house", *(f"thing{number}" for number in range(40))]
    sampler = VocabularySampler(names, 5)
    for seed in range(20):
        chosen = set(sampler(np.array([0]), np.random.default_rng(seed)).tolist())
        assert {0, 1, 2} <= chosen
        assert len(chosen) == 5
    with pytest.raises(ValueError, match="between 1 and the 43"):
        VocabularySampler(names, 44)
    with pytest.raises(ValueError, match="'purple'"):
        VocabularySampler(names, 4, held_out=["purple"])


@pytest.mark.parametrize("num_present", [1, 8, 9, 10, 11])
@pytest.mark.parametrize("num_sampled", [8, 10, 11])
def test_every_picture_gets_as_many_classes(num_present: int, num_sampled: int) -> None:
    sampler = VocabularySampler([f"thing {number}" for number in range(11)], num_sampled)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        classes = sampler(generator.permutation(11)[:num_present], generator)
        assert len(set(classes.tolist())) == len(classes) == num_sampled


def test_a_held_out_name_is_not_asked_for_even_where_it_is_to_be_seen() -> None:
    sampler = VocabularySampler(NAMES, 3, held_out=["red car"])
    for seed in range(20):
        assert 1 not in sampler(np.array([0, 1, 2]), np.random.default_rng(seed))
