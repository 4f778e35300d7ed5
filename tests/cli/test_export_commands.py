# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg export`, and the code of docs/export.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model, tiny_processor
from transformers import CLIPConfig
from typer.testing import CliRunner, Result

from fgaseg_hf import FGASegProcessor
from fgaseg_hf.cli.main import app
from fgaseg_hf.export import onnx_export

REPOSITORY = Path(__file__).parent.parent.parent


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


def test_what_the_options_choose(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def remember(model: object, folder: Path, **options: bool) -> list[Path]:
        calls.append((model, folder, options))
        return [folder / "model.onnx"]

    monkeypatch.setattr("fgaseg_hf.export.onnx_export.export_to_onnx", remember)
    result = run(model_folder, "--out", tmp_path, "--topk", "2", "--image-size", "fixed", "--no-text-encoder")
    assert result.exit_code == 0, result.output
    ((model, folder, options),) = calls
    assert model.config.num_kept_classes == 2
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert folder == tmp_path
    assert options == {"dynamic_image_size": False, "include_text_encoder": False}
    assert str(tmp_path / "model.onnx") in result.stdout
    words = FGASegProcessor.from_pretrained(tmp_path)(text=["sky"])["input_ids"]
    assert words == tiny_processor()(text=["sky"])["input_ids"]


def test_bad_input(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: str | Path) -> str:
        result = run(*arguments, "--out", tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert "\n" not in result.stderr.strip() and not (tmp_path / "out").exists()
        return result.stderr

    assert "no/such/model" in refused("no/such/model")
    CLIPConfig().save_pretrained(tmp_path / "clip")
    assert "'clip'" in refused(tmp_path / "clip")
    assert "'any' or 'fixed'" in refused(model_folder, "--image-size", "huge")
    tiny_model(num_kept_classes=2, class_selection_rule="union").save_pretrained(tmp_path / "union")
    assert "'union'" in refused(tmp_path / "union")
    monkeypatch.setattr(onnx_export, "ONNX_PACKAGES", ("no_such_package",))
    assert "pip install 'fgaseg_hf[onnx]'" in refused(model_folder)


@pytest.mark.slow
def test_the_page_on_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, flags=re.DOTALL)
    assert [language for language, _ in blocks] == ["bash", "python", "python"]
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    monkeypatch.chdir(tmp_path)
    for language, code in blocks:
        if language == "python":
            exec(compile(code, "docs/export.md", "exec"), {"__name__": "__main__"})
            continue
        words = code.split()
        assert words[0] == "fgaseg"
        done = subprocess.run(
            [sys.executable, "-m", "fgaseg_hf", *words[1:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
