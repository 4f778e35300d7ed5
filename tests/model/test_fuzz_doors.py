# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Generated inputs at the doors: none is answered wrongly, and none is refused by anything but a sentence."""

import pytest
from fuzz_doors import DOORS, Door, Outcomes, enter, try_door, try_doors

ALLOWED = {"answered", "refused"}


@pytest.mark.parametrize("name", list(DOORS))
def test_a_few_cases(name: str) -> None:
    outcomes = try_door(name, 2 * DOORS[name].share)
    assert outcomes.counts.keys() <= ALLOWED, outcomes.failures
    assert outcomes.counts["answered"] > 0 or outcomes.counts.total() < 8


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_ten_thousand_cases() -> None:
    tried = try_doors(list(DOORS), 10_000, start=1)
    assert sum(sum(outcomes.counts.values()) for outcomes in tried.values()) >= 10_000
    for name, outcomes in tried.items():
        assert outcomes.counts.keys() <= ALLOWED, (name, outcomes.failures)
        assert outcomes.counts["answered"] >= sum(outcomes.counts.values()) // 20, name


def test_what_goes_wrong_is_counted() -> None:
    outcomes = Outcomes()
    for error in (
        ValueError("no"),
        TypeError("`x` is no number"),
        TypeError("no"),
        KeyError("x"),
        ValueError("x" * 2000),
    ):

        def raise_it(error: Exception = error) -> None:
            raise error

        enter(Door(None, raise_it), (), outcomes)  # type: ignore[arg-type]
    assert outcomes.counts == {"refused": 2, "RAW TypeError": 1, "RAW KeyError": 1, "LONG MESSAGE": 1}
    assert outcomes.failures.keys() == {"RAW TypeError", "RAW KeyError", "LONG MESSAGE"}
