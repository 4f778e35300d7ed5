# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The documentation: its code runs, and its links lead somewhere."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from script_loading import REPOSITORY
from test_readme import NOT_RUN, Block, commands_of, find_blocks, line_of, parse_command

import fgaseg_hf

PAGES = [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "model_cards" / "README.md"]
PAGES_WITHOUT_PROGRAMS = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
# Where a page's file names begin, besides the repository itself.
ROOMS = REPOSITORY / "src" / "fgaseg_hf"
BLOCKS = {path.name: find_blocks(path.read_text(encoding="utf-8")) for path in PAGES}
GUIDE = BLOCKS["fgaseg.md"]
PARSED_BLOCKS = [block for blocks in BLOCKS.values() for block in blocks if block.language == "bash"]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    for name, blocks in BLOCKS.items():
        for block in blocks:
            is_known = block.language in ("python", "bash") and (not block.comment or block.comment.startswith(NOT_RUN))
            is_known |= block.language == "text"
            assert is_known, f"{name}, line {block.line}"
            assert not (block.language == "python" and block.comment), f"{name}, line {block.line}"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "number"), [("fgaseg.md", 5), ("finetuning.md", 4)])
def test_python_of_a_page_runs(page: str, number: int) -> None:
    # One page is one session: a later block uses what an earlier one made.
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = [block for block in BLOCKS[page] if block.language == "python"]
    assert len(blocks) >= number
    for block in blocks:
        exec(compile(block.text, f"{page}, block of line {block.line}", "exec"), names)


def test_the_notebook_is_that_of_its_page() -> None:
    notebook_of = runpy.run_path(str(REPOSITORY / "docs" / "site" / "notebook_of_page.py"))["notebook_of"]
    page = REPOSITORY / "docs" / "finetuning.md"
    notebook = page.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert notebook == notebook_of(page.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    assert cells == [block.text.strip() for block in BLOCKS["finetuning.md"] if block.language == "python"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [block for block in GUIDE if block.language == "bash" and not block.comment], ids=line_of
)
def test_shell_of_the_guide_runs(block: Block) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        env=os.environ | {"PATH": path},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "category-aware decoder" in done.stdout


@pytest.mark.parametrize("block", PARSED_BLOCKS, ids=line_of)
def test_arguments_of_shell_blocks_are_accepted(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for command in commands_of(block):
        parse_command(command)


@pytest.mark.parametrize("path", [*PAGES, *PAGES_WITHOUT_PROGRAMS], ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [*PAGES, *PAGES_WITHOUT_PROGRAMS], ids=lambda path: path.name)
def test_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)*\w+\.py)`", text))
    files = {found.name for folder in (ROOMS, REPOSITORY / "training") for found in folder.rglob("*.py")}
    absent = [
        name
        for name in sorted(named)
        if not any((folder / name).exists() for folder in (REPOSITORY, ROOMS, path.parent)) and name not in files
    ]
    assert absent == []


def test_the_architecture_names_every_room() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = next(block.text for block in find_blocks(text) if block.language == "text")
    rooms = {path.parent.name for path in ROOMS.glob("*/__init__.py")}
    assert rooms - {line.split()[0] for line in drawing.splitlines()} == set()


def test_names_in_the_guide_exist() -> None:
    text = (REPOSITORY / "docs" / "fgaseg.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(FGASeg\w+)", text):
        assert hasattr(fgaseg_hf, name), name
    for method in ("get_text_embeddings", "segment_with_sliding_window", "set_vocabulary", "from_clip"):
        assert method in text
        assert hasattr(fgaseg_hf.FGASegForSemanticSegmentation, method)
