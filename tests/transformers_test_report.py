# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Counts the outcomes of Transformers' common tests, and fails each skip that docs/common_tests.md does not explain."""

import re
from collections import Counter
from collections.abc import Generator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest
import transformers_test_suite

TABLE = Path(__file__).parent.parent / "docs" / "common_tests.md"
MODULE_PREFIX = "test_transformers_"

# The marks that Transformers puts on its tests; pytest is told to refuse unknown ones.
MARKS = (
    "accelerate_tests",
    "flash_attn_test",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "torch_compile_test",
)


class Row(NamedTuple):
    """A row of the table: skips of tests of these names, for this reason (both with `*`), are right."""

    reason: str
    tests: tuple[str, ...]
    explanation: str

    def covers(self, test: str, reason: str) -> bool:
        # A backtick would end a cell's quotation, so the table has other marks in its place.
        reason = reason.replace("`", "'")
        return fnmatchcase(reason, self.reason) and any(fnmatchcase(test, pattern) for pattern in self.tests)


def read_table() -> list[Row]:
    """Reads the rows of docs/common_tests.md."""
    rows = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("| `"):
            reason, tests, explanation = (cell.strip() for cell in line.strip("|").split("|"))
            rows.append(Row(reason.strip("`"), tuple(re.findall(r"`([^`]+)`", tests)), explanation))
    return rows


class Report:
    """The outcomes of a run; a plug-in of pytest."""

    def __init__(self) -> None:
        self.rows = read_table()
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if item.path.name.startswith(MODULE_PREFIX) and report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            test = getattr(item, "originalname", item.name)
            if reason != transformers_test_suite.SKIP_SENTENCE and not any(
                row.covers(test, reason) for row in self.rows
            ):
                report.outcome = "failed"
                report.longrepr = f"{test} is skipped ({reason!r}), but docs/common_tests.md has no row for that."
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not Path(report.nodeid.split("::")[0]).name.startswith(MODULE_PREFIX):
            return
        is_subtest = type(report) is not pytest.TestReport
        if report.when == "call" or report.outcome != "passed":
            self.counts["subtests " * is_subtest + report.outcome] += 1
            if report.skipped and isinstance(report.longrepr, tuple):
                self.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.counts:
            return
        terminalreporter.section("Transformers' common tests")
        outcomes = ", ".join(f"{self.counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))
        terminalreporter.write_line(f"{outcomes}, {self.counts['subtests passed']} subtests passed")
        for reason, count in self.reasons.most_common():
            terminalreporter.write_line(f"{count:4} skipped: {reason}")
        terminalreporter.write_line("Each skip has its row in docs/common_tests.md.")


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", f"{mark}: one of Transformers' own marks")
    config.pluginmanager.register(Report())
