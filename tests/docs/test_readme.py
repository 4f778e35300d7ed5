# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The README's code is run, so that it stays true.

Every fenced block must be one of these, and any other block fails the tests:

- `python`: executed;
- `bash`: executed by the shell, with the installed `fgaseg`;
- `bash` under `<!-- set-up -->`: must stand word for word in `.ci/run`, which executes it;
- `bash` under `<!-- not run here: REASON -->`: its arguments are parsed by the program that it calls;
- `bibtex` or `text`: nothing to run.

The blocks run in their order in one folder, where a later block finds what an earlier one wrote.
"""

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import typer

REPOSITORY = Path(__file__).parent.parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SET_UP = "set-up"
NOT_RUN = "not run here: "


@dataclass
class Block:
    """A fenced block: its language, its text, the line where it begins, and the comment on the line before it."""

    language: str
    text: str
    line: int
    comment: str


def find_blocks(markdown: str) -> list[Block]:
    blocks: list[Block] = []
    opened: Block | None = None
    previous = ""
    for number, line in enumerate(markdown.splitlines(), start=1):
        if opened is None and (fence := re.match(r"\s*(?:```|~~~)(.*)", line)):
            comment = re.fullmatch(r"<!-- (.*) -->", previous.strip())
            opened = Block(fence[1].strip(), "", number, comment[1] if comment else "")
        elif opened is not None and line.strip() in ("```", "~~~"):
            blocks.append(opened)
            opened = None
        elif opened is not None:
            opened.text += line + "\n"
        previous = line
    assert opened is None, f"The block of line {opened.line} has no end."
    return blocks


BLOCKS = find_blocks(README)
PYTHON_BLOCKS = [block for block in BLOCKS if block.language == "python" and not block.comment]
SET_UP_BLOCKS = [block for block in BLOCKS if block.language == "bash" and block.comment == SET_UP]
SHELL_BLOCKS = [block for block in BLOCKS if block.language == "bash" and not block.comment]
PARSED_BLOCKS = [block for block in BLOCKS if block.language == "bash" and block.comment.startswith(NOT_RUN)]
OTHER_BLOCKS = [block for block in BLOCKS if block.language in ("bibtex", "text")]
EXECUTED_BLOCKS = [block for block in BLOCKS if block in PYTHON_BLOCKS or block in SHELL_BLOCKS]


def line_of(block: Block) -> str:
    return f"line{block.line}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Looks like a clone, but what the commands write stays out of the clone."""
    folder = tmp_path_factory.mktemp("readme")
    for entry in ("assets", "benchmarks", "training", "src", "README.md"):
        if (REPOSITORY / entry).exists():
            (folder / entry).symlink_to(REPOSITORY / entry)
    return folder


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    known = [*PYTHON_BLOCKS, *SET_UP_BLOCKS, *SHELL_BLOCKS, *PARSED_BLOCKS, *OTHER_BLOCKS]
    unknown = [f"line {block.line} ({block.language or 'no language'})" for block in BLOCKS if block not in known]
    assert not unknown, f"README blocks that no test covers: {', '.join(unknown)}"
    assert PYTHON_BLOCKS
    assert SHELL_BLOCKS


def test_ci_runs_the_set_up_commands_word_for_word() -> None:
    run_by_ci = re.findall(
        r"^run '(.*)'$", (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    commands = [block.text.strip() for block in SET_UP_BLOCKS]
    assert len(commands) == 2
    assert all("\n" not in command for command in commands)
    assert run_by_ci[:2] == commands


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert "assets/result.png" in local
    assert [target for target in local if not (REPOSITORY / target).is_file()] == []


def test_it_takes_three_minutes_to_read() -> None:
    assert len(README.splitlines()) <= 150


def test_no_result_is_left_open() -> None:
    assert "FILL-IN" not in README


@pytest.mark.slow
@pytest.mark.parametrize("block", EXECUTED_BLOCKS, ids=line_of)
def test_block_runs(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if block.language == "python":
        exec(compile(block.text, f"README.md, block of line {block.line}", "exec"), {"__name__": "__main__"})
        return
    # The programs beside the interpreter that runs this test come first: `fgaseg`, `python`, `accelerate`.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


class ArgumentsAccepted(Exception):
    """Raised in place of the work that would follow the parsing."""


def parse_like_the_script(script: Path, arguments: list[str]) -> None:
    """Starts a script and stops it where its arguments are parsed; wrong ones end in `SystemExit`."""
    original = argparse.ArgumentParser.parse_known_args

    def parse_and_stop(parser: argparse.ArgumentParser, args: object = None, namespace: object = None) -> None:
        _, unknown = original(parser, args, namespace)
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        raise ArgumentsAccepted

    with (
        mock.patch.object(sys, "argv", [str(script), *arguments]),
        mock.patch.object(sys, "path", [str(script.parent), *sys.path]),
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse_and_stop),
        pytest.raises(ArgumentsAccepted),
    ):
        runpy.run_path(str(script), run_name="__main__")


def parse_like_fgaseg(arguments: list[str]) -> None:
    from fgaseg_hf.cli.main import app

    group = typer.main.get_command(app)
    with group.make_context("fgaseg", list(arguments)) as context:
        name, command, rest = group.resolve_command(context, list(arguments))
        command.make_context(name, rest, parent=context)


def parse_command(command: str) -> None:
    words = shlex.split(command)
    if words[:2] in (["fgaseg", "train"], ["fgaseg", "evaluate"]):
        # These hand their words on to the arguments of the script.
        words = ["python", f"training/{words[1]}.py", *words[2:]]
    if words[0] == "fgaseg":
        parse_like_fgaseg(words[1:])
        return
    assert words[0] == "python" or words[:2] == ["accelerate", "launch"], f"No parser is known for: {command}"
    words = [{"fgaseg_hf.training.train": "training/train.py"}.get(word, word) for word in words]
    # Options of `accelerate launch` stand before the script.
    place = next(number for number, word in enumerate(words) if word.endswith(".py"))
    parse_like_the_script(REPOSITORY / words[place], words[place + 1 :])


def commands_of(block: Block) -> Iterator[str]:
    yield from filter(None, (line.strip() for line in block.text.replace("\\\n", " ").splitlines()))


@pytest.mark.parametrize("block", PARSED_BLOCKS, ids=line_of)
def test_arguments_of_a_block_that_is_not_run_are_accepted(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for command in commands_of(block):
        parse_command(command)


def test_wrong_arguments_are_refused() -> None:
    parse_command("python training/scenes/scenes.py --out scenes --seed 3")
    with pytest.raises(SystemExit):
        parse_command("fgaseg train --no_such_option 3")
    with pytest.raises(SystemExit):
        parse_command("python training/scenes/scenes.py --out scenes --no_such_option 3")


def test_a_block_of_a_new_kind_would_be_found() -> None:
    blocks = find_blocks("<!-- not run here: needs a GPU -->\n```bash\na \\\n  b\nc\n```\n\n```\nx\n```\n")
    assert [(block.language, block.comment, block.line) for block in blocks] == [
        ("bash", "not run here: needs a GPU", 2),
        ("", "", 8),
    ]
    assert [" ".join(command.split()) for command in commands_of(blocks[0])] == ["a b", "c"]
