# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What GitHub reads: workflows that run what `.ci/run` runs, and templates that it can show."""

from typing import Any

import yaml
from script_loading import REPOSITORY

GITHUB = REPOSITORY / ".github"


def load(name: str) -> Any:
    return yaml.safe_load((GITHUB / name).read_text(encoding="utf-8"))


def test_the_workflow_runs_the_ci_script_and_the_readmes_commands() -> None:
    jobs = load("workflows/ci.yml")["jobs"]
    commands = {job: [step["run"] for step in jobs[job]["steps"] if "run" in step] for job in jobs}
    assert commands["everything"] == ["bash .ci/run"]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"```bash\n{commands['quick'][-1]}\n```" in readme
    assert {"macos-latest", "windows-latest"} == set(jobs["quick"]["strategy"]["matrix"]["os"])


def test_the_workflow_takes_the_oldest_python_that_is_supported() -> None:
    jobs = load("workflows/ci.yml")["jobs"]
    setup = (REPOSITORY / "setup.cfg").read_text(encoding="utf-8")
    oldest = jobs["everything"]["strategy"]["matrix"]["python"][0]
    assert f"python_requires = >={oldest}\n" in setup


def test_the_workflow_takes_every_row_of_versions() -> None:
    job = load("workflows/ci.yml")["jobs"]["versions"]
    assert job["steps"][-1]["run"] == "bash .ci/run_versions ${{ matrix.row }}"
    script = (REPOSITORY / ".ci" / "run_versions").read_text(encoding="utf-8")
    assert f"rows=({' '.join(job['strategy']['matrix']['row'])})" in script


def test_templates_have_what_github_asks_for() -> None:
    for name in ("bug_report.yml", "proposal.yml"):
        template = load(f"ISSUE_TEMPLATE/{name}")
        assert {"name", "description", "body"} <= set(template)
        ids = [field["id"] for field in template["body"]]
        assert len(ids) == len(set(ids))
        assert all(field["attributes"]["label"] for field in template["body"])
