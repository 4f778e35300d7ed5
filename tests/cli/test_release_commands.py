# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg inspect`, `fgaseg card` and `fgaseg release`, called as a person calls them."""

import json
from pathlib import Path

import pytest
from evaluation_reports import write_report
from hub_server import local_hub, use_hub
from huggingface_hub import ModelCard
from test_command_line import refused, run
from tiny_models import tiny_model, tiny_processor

from fgaseg_hf.release.checkpoint_description import describe_checkpoint
from fgaseg_hf.release.checkpoint_inspection import inspect_checkpoint


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    tiny_model().save_pretrained(folder / "best")
    tiny_processor().save_pretrained(folder / "best")
    write_report(folder / "seen.json", folder / "best")
    return folder


def test_inspect(run_folder: Path) -> None:
    found = inspect_checkpoint(run_folder / "best")
    result = run("inspect", run_folder / "best")
    assert result.exit_code == 0, result.output
    assert result.stdout == describe_checkpoint(found) + "\n"
    result = run("inspect", run_folder / "best", "--json", "--no-hashes")
    printed = json.loads(result.stdout)
    assert printed["num_parameters"] == found.num_parameters
    assert printed["weights_sha256"] is None
    assert "There is no model" in refused("inspect", run_folder / "nowhere")


def test_card(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "card.md"
    arguments = ["card", run_folder / "best", "--results", run_folder / "seen.json", "--out", out]
    assert "no licence" in refused(*arguments)
    result = run(
        *arguments, "--license", "mit", "--base-model", "x/clip", "--dataset", "x/pictures",
        "--training-command", "python train.py --lr 1", "--name", "x/tiny",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert str(out) in result.stdout
    card = ModelCard.load(out)
    assert (card.data.license, card.data.base_model, card.data.datasets) == ("mit", ["x/clip"], ["x/pictures"])
    assert "python train.py --lr 1" in card.text
    assert '"x/tiny"' in card.text

    (tmp_path / "words.yaml").write_text("license: mit\nname: ours\nsummary: Small.\n")
    assert run(*arguments, "--description", tmp_path / "words.yaml").exit_code == 0
    assert "# ours\n\nSmall.\n" in out.read_text()
    assert "mapping" in refused(*arguments, "--description", run_folder / "seen.json")

    # What it did not write stays.
    out.write_text("# My notes\n\n## Citation\n")
    assert "is there already" in refused(*arguments, "--license", "mit")
    assert out.read_text() == "# My notes\n\n## Citation\n"
    assert run(*arguments, "--license", "mit", "--overwrite").exit_code == 0
    assert "# My notes" not in out.read_text()

    write_report(tmp_path / "other.json", None)
    assert "which weights" in refused(
        *arguments[:2], "--results", tmp_path / "other.json", *arguments[4:], "--license", "x"
    )


def test_release(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["release", run_folder, "--repo", "someone/tiny", "--license", "mit"]
    with local_hub() as hub:
        use_hub(hub, tmp_path / "cache", monkeypatch)
        dry = run(*arguments, "--dry-run", "--out", tmp_path / "release")
        assert dry.exit_code == 0, dry.output
        assert hub.repositories == {}
        assert "nothing was pushed" in dry.stdout
        files = {path.relative_to(tmp_path / "release").as_posix() for path in (tmp_path / "release").rglob("*.*")}
        listed = {line.split()[1] for line in dry.stdout.splitlines() if line.startswith(" ")}
        assert listed == files

        pushed = run(*arguments, "--message", "First")
        assert pushed.exit_code == 0, pushed.output
        assert pushed.stdout.splitlines()[:-1] == dry.stdout.splitlines()[:-1]
        assert pushed.stdout.splitlines()[-1] == f"Pushed to {hub.url}/someone/tiny"
        assert listed <= set(hub.repositories["someone/tiny"].files)
        assert hub.repositories["someone/tiny"].commits == ["First"]
    assert "no owner" in refused("release", run_folder, "--repo", "tiny", "--license", "mit")
