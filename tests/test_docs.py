"""The documentation: its code runs, its links lead somewhere, and the API reference is that of the docstrings."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from script_loading import REPOSITORY, load_script
from test_readme import NOT_RUN, Block, commands_of, find_blocks, line_of, parse_command

import fgaseg_hf

PAGES = [REPOSITORY / "docs" / "fgaseg.md", REPOSITORY / "docs" / "common_tests.md"]
PAGES += [REPOSITORY / "model_cards" / "README.md"]
BLOCKS = {path.name: find_blocks(path.read_text(encoding="utf-8")) for path in PAGES}
GUIDE = BLOCKS["fgaseg.md"]
PARSED_BLOCKS = [block for blocks in BLOCKS.values() for block in blocks if block.language == "bash"]


@pytest.fixture(scope="module")
def build_api() -> ModuleType:
    return load_script(REPOSITORY / "docs" / "build_api.py", "build_api")


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    for name, blocks in BLOCKS.items():
        for block in blocks:
            is_known = block.language in ("python", "bash") and (not block.comment or block.comment.startswith(NOT_RUN))
            assert is_known, f"{name}, line {block.line}"
            assert not (block.language == "python" and block.comment), f"{name}, line {block.line}"


@pytest.mark.slow
def test_python_of_the_guide_runs() -> None:
    # One page is one session: a later block uses what an earlier one made.
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = [block for block in GUIDE if block.language == "python"]
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block.text, f"fgaseg.md, block of line {block.line}", "exec"), names)


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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_names_in_the_guide_exist(build_api: ModuleType) -> None:
    known = {member.name for _, names in build_api.read_package().values() for name in names for member in name.members}
    text = (REPOSITORY / "docs" / "fgaseg.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(FGASeg\w+)", text):
        assert hasattr(fgaseg_hf, name), name
    assert {"get_text_embeddings", "segment_with_sliding_window", "set_vocabulary", "from_clip"} <= known


def test_api_reference_is_up_to_date(build_api: ModuleType) -> None:
    written = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == build_api.build(), "docs/api.md is not that of the docstrings: run `make docs`."


def test_every_public_name_has_a_docstring(build_api: ModuleType) -> None:
    assert list(build_api.undocumented(build_api.read_package())) == []


def test_the_reference_holds_what_the_package_exports(build_api: ModuleType) -> None:
    names = build_api.read_package()["fgaseg_hf"][1]
    assert {name.name for name in names} == set(fgaseg_hf.__all__)
    text = build_api.build()
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors)


SOURCE = '''
"""A module; see [`shout`]."""
__all__ = ["Voice", "shout"]

class Voice:
    """A voice, louder with [`shout`] than with [`whisper`].

    Args:
        loudness (`int`, defaults to 3): How loud: 1 to 10,
            at most.
        name: Whose.

    Raises:
        ValueError: It is too loud.

    Example:
        >>> Voice(3)
    """

    def __init__(self, loudness: int = 3, *, name: str | None = None) -> None: ...

    @property
    def is_loud(self) -> bool:
        """Whether it is loud."""

    @classmethod
    def of(cls, name: str) -> "Voice":
        """Finds a voice.

        Returns:
            The voice
            of that name.
        """

    def quiet(self): ...

    def _hidden(self): ...

def shout(*words: str, **how: object) -> str: ...
def whisper(): ...
'''


def test_how_the_reference_is_written(build_api: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "voices.py").write_text(SOURCE)
    (tmp_path / "__init__.py").write_text("__all__ = ['Voice']\n")
    monkeypatch.setattr(build_api, "SOURCE", tmp_path)
    package = build_api.read_package()
    assert [name.name for name in package["fgaseg_hf"][1]] == ["Voice"]
    assert [name.name for name in package["fgaseg_hf.voices"][1]] == ["shout"]
    assert list(build_api.undocumented(package)) == ["voices.quiet", "voices.shout"]
    text = build_api.build()
    for expected in (
        "Voice(loudness: int = 3, *, name: str | None = None)\n",
        "- `loudness` (`int`, defaults to 3): How loud: 1 to 10, at most.\n- `name`: Whose.\n",
        "- `ValueError`: It is too loud.",
        "louder with [`shout`](#voices.shout) than with `whisper`.",
        "```python\n>>> Voice(3)\n```",
        "is_loud -> bool\n",
        "Voice.of(name: str) -> 'Voice'\n",
        "**Returns:** The voice of that name.",
        "shout(*words: str, **how: object) -> str\n",
    ):
        assert expected in text, expected
    assert "_hidden" not in text
