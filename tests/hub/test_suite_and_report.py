# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
import re
import unittest
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import transformers
import transformers_test_suite
from packaging.version import Version
from test_transformers_image_processing import FGASegImageProcessingTest
from test_transformers_modeling import FGASegModelTest
from test_transformers_processing import FGASegProcessorTest
from transformers_test_report import TABLE, read_table

# Imported for their names; pytest would run imported test classes here once more.
SUITES = [FGASegModelTest, FGASegProcessorTest, FGASegImageProcessingTest]
del FGASegModelTest, FGASegProcessorTest, FGASegImageProcessingTest

pytest_plugins = ["pytester"]


def test_every_row_of_the_table_names_tests_and_says_why() -> None:
    rows = read_table()
    assert len(rows) > 20
    names = {name for suite in SUITES for name in dir(suite) if name.startswith("test_")}
    if "test_suite_is_available" in names:
        pytest.skip("without the common tests nothing is known of their names")
    (documented,) = re.findall(r"that of Transformers (\d+\.\d+)", TABLE.read_text())
    if Version(transformers.__version__) < Version(documented):
        pytest.skip(f"the table is that of Transformers {documented}, and earlier versions lack some of its tests")
    for row in rows:
        assert row.explanation.endswith("."), row
        for pattern in row.tests:
            assert any(fnmatchcase(name, pattern) for name in names), pattern


def test_a_skip_without_a_row_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_transformers_some="""
            import unittest
            class SomeTest(unittest.TestCase):
                def test_inputs_embeds(self):
                    self.skipTest("This model doesn't use `inputs_embeds`")
                def test_unexplained(self):
                    self.skipTest("No reason.")
                def test_with_parts(self):
                    with self.subTest("one"):
                        self.skipTest("Another.")
        """
    )
    outcome = pytester.runpytest_inprocess("-p", "transformers_test_report")
    outcome.stdout.fnmatch_lines(["*test_unexplained is skipped ('No reason.'), but docs/common_tests.md has no row*"])
    outcome.stdout.fnmatch_lines(["*test_with_parts is skipped ('Another.'), but docs/common_tests.md has no row*"])
    outcome.stdout.fnmatch_lines(["*skipped: This model doesn't use `inputs_embeds`*"])
    assert outcome.parseoutcomes()["skipped"] == 1


def test_without_network_and_cache_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    outcome = transformers_test_suite._fetch_outcome.__wrapped__()
    assert isinstance(outcome, transformers_test_suite.SuiteUnavailableError)
    assert "connect to the package index once" in str(outcome)
    assert not transformers_test_suite.cache_folder().exists()


@pytest.mark.parametrize("is_skip_wanted", [False, True])
def test_tests_that_cannot_be_fetched_fail_unless_they_are_switched_off(
    is_skip_wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(transformers_test_suite.SKIP_VARIABLE, "1" if is_skip_wanted else "")

    def unavailable() -> Path:
        raise transformers_test_suite.SuiteUnavailableError("They are not there.")

    monkeypatch.setattr(transformers_test_suite, "fetch", unavailable)
    module = transformers_test_suite.load("test_modeling_common")

    class SomeTest(module.ModelTesterMixin, unittest.TestCase):
        pass

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(SomeTest).run(result)
    assert len(result.skipped) == is_skip_wanted
    assert len(result.errors) == (not is_skip_wanted)
    if not is_skip_wanted:
        assert "They are not there." in result.errors[0][1]
