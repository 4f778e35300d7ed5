# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The table of what went wrong once: each line names tests that are there, and docs/reliability.md counts them."""

import ast
import csv
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "reliability.md"


def rows() -> list[dict[str, str]]:
    with (TESTS / "tested_cases.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_case_names_tests_that_are_there() -> None:
    for row in rows():
        named = [name.strip() for name in row["tests"].split(",")]
        assert named, row["case"]
        for name in named:
            path, _, test = name.partition("::")
            assert test in functions_in(path), (row["case"], name)


def test_every_case_stands_there_once() -> None:
    cases = [row["case"] for row in rows()]
    assert len(cases) == len(set(cases))
    faults = {re.match(r"faults (\d)", case)[1] for case in cases if case.startswith("faults")}  # type: ignore[index]
    inputs = {int(re.match(r"inputs (\d+)", case)[1]) for case in cases if case.startswith("inputs")}  # type: ignore[index]
    assert faults == set("123456789") and inputs == set(range(1, 16))


def test_the_page_counts_them() -> None:
    table = rows()
    tests = {name.strip() for row in table for name in row["tests"].split(",")}
    assert f"{len(table)} cases, {len(tests)} tests" in PAGE.read_text(encoding="utf-8")
