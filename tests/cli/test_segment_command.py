# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What `fgaseg segment` reads and writes beside the plain case: formats, odd folders and names, addresses."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from static_host import static_host
from test_command_line import LABELS, refused, run, visible
from tiny_models import tiny_model, tiny_processor, tiny_vocabulary
from typer.testing import CliRunner

from fgaseg_hf.cli.main import app
from fgaseg_hf.inference.picture_search import find_pictures


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in ("a.png", "inner/a.png", "inner/b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.randint(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_formats_overlay_and_json(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = ["segment", pictures, "--labels", LABELS, "--model", model_folder, "--output", tmp_path / "out"]
    result = run(*arguments, "--formats", "coco, geojson", "--overlay", "jpg", "--json", "--recursive")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(line["picture"]).name for line in lines] == ["a.png", "a.png", "b.jpg"]
    assert visible(tmp_path / "out") == ["a_coco.json", "a_overlay.jpg", "a_polygons.geojson", "inner"]
    assert visible(tmp_path / "out" / "inner")[0] == "a_coco.json"
    assert len(lines[0]["files"]) == 3
    assert sum(lines[0]["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert list(lines[0]["scores"]) == ["red car", "blue house", "sky"]
    result = run(*arguments[:-1], tmp_path / "bare", "--overlay", "none")
    assert visible(tmp_path / "bare") == ["a_labels.json", "a_labels.png"]
    assert "gif" in refused(*arguments, "--formats", "gif")
    assert "nothing to write" in refused(*arguments, "--formats", "none", "--overlay", "none")


def test_what_failed_is_listed_and_the_rest_is_done(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_bytes(b"\x89PNG nonsense")
    # More pixels than their file could hold, an animation without frames, numbers that are none.
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(pictures / "nan.tif")
    (pictures / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    arguments = ["segment", pictures, "--labels", LABELS, "--model", model_folder, "--output", out]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "2 of 3 pictures failed" in result.stderr
    assert "left out 1 file (1 no pictures)" in result.stderr
    failed = json.loads((out / "failed.json").read_text(encoding="utf-8"))["failed"]
    assert sorted(Path(entry["picture"]).name for entry in failed) == ["broken.png", "nan.tif"]
    assert all(entry["error"].endswith(".") for entry in failed)
    assert visible(out) == ["a_labels.json", "a_labels.png", "a_overlay.png", "failed.json"]
    # Mended, the same command does what is missing and takes the list away.
    for name in ("broken.png", "nan.tif"):
        Image.new("RGB", (9, 9)).save(pictures / name)
    result = run(*arguments, "--resume")
    assert result.exit_code == 0, result.output
    assert "1 pictures were done before" in result.stdout
    assert len(visible(out)) == 9
    # One picture by itself that cannot be read.
    result = run("segment", pictures / "notes.txt", *arguments[2:])
    assert result.exit_code == 1
    assert "notes.txt" in result.stderr


def test_the_limit_of_pixels_is_an_option(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    large = tmp_path / "large.png"
    Image.new("RGB", (200, 100)).save(large)
    folder = tmp_path / "out"
    arguments = ["segment", large, "--labels", "sky, car", "--model", model_folder, "--output", folder]
    result = CliRunner().invoke(app, [str(word) for word in [*arguments, "--max-megapixels", "0.01"]])
    assert result.exit_code == 1 and "--max-megapixels" in result.stderr
    assert not list(folder.glob("*.png"))
    assert run(*arguments, "--max-megapixels", "0.02").exit_code == 0
    assert "--max-megapixels is inf" in refused(*arguments, "--max-megapixels", "inf")
    assert run(*arguments, "--max-megapixels", "nan").exit_code == 2


def test_anothers_files_stay(model_folder: Path, pictures: Path) -> None:
    own = pictures / "a_labels.png"
    Image.new("L", (24, 20)).save(own)
    before = own.read_bytes()
    arguments = ["segment", pictures / "a.png", "--labels", LABELS, "--model", model_folder, "--output", pictures]
    assert "a_labels.png" in refused(*arguments)
    assert own.read_bytes() == before
    assert run(*arguments, "--overwrite").exit_code == 0
    assert own.read_bytes() != before
    assert run(*arguments).exit_code == 0


def test_labels_as_people_write_them(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    def names(labels: str) -> list[str]:
        arguments = ["segment", pictures / "a.png", "--model", model_folder, "--output", tmp_path / "out"]
        result = run(*arguments, "--labels", labels, "--json")
        assert result.exit_code == 0, result.output
        return list(json.loads(result.stdout)["shares"])

    expected = ["red car", "sky", "tree"]
    (tmp_path / "names.txt").write_bytes("\ufeffred car\r\nsky\r\ntree\r\n".encode())
    (tmp_path / "wide.txt").write_bytes("red car\nsky\ntree".encode("utf-16"))
    (tmp_path / "names.json").write_text('["red car", "sky", "tree"]')
    for labels in (
        "red car, sky,tree",
        "red car\nsky\ntree\n",
        "red car\tsky\ttree",
        "red car，sky、tree",
        '["red car", "sky", "tree"]',
        f"@{tmp_path / 'names.txt'}",
        f"@{tmp_path / 'wide.txt'}",
        f"@{tmp_path / 'names.json'}",
    ):
        assert names(labels) == expected
    (tmp_path / "latin.txt").write_bytes("Straße".encode("latin-1"))
    options = ["segment", pictures / "a.png", "--model", model_folder, "--output", tmp_path / "out", "--labels"]
    for labels, message in (
        (f"@{tmp_path / 'latin.txt'}", "latin.txt"),
        ("@no/such.txt", "no/such.txt"),
        ('["red car"', "JSON"),
        ("[1, 2]", "strings"),
        ("red car\x00, sky", "control character"),
        ("caf\udcc3\udca9, sky", "PYTHONUTF8=1"),
    ):
        assert message in refused(*options, labels)


def test_a_model_that_knows_its_words_needs_none(pictures: Path, tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    arguments = ["segment", pictures / "a.png", "--model", tmp_path / "model", "--output", tmp_path / "out", "--json"]
    assert list(json.loads(run(*arguments).stdout)["shares"]) == tiny_vocabulary().labels
    (tmp_path / "model" / "vocabulary.json").write_text("{")
    assert "vocabulary" in refused(*arguments)


def test_odd_folders(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "dir [1]"
    odd.mkdir()
    Image.new("RGB", (4, 4)).save(odd / "x.jpg")
    for name in ("._x.jpg", ".DS_Store", "film.mpg", "paper.pdf", "phone.heic"):
        (odd / name).write_bytes(b"anything")
    search = find_pictures([str(odd)])
    assert [picture.name for picture in search.pictures] == ["x"]
    assert search.left_out.total() == 5
    assert any("pillow-heif" in reason for reason in search.left_out)
    assert len(find_pictures([f"{odd}/*.jpg"]).pictures) == 1
    # One file by two paths.
    monkeypatch.chdir(tmp_path)
    assert len(find_pictures(["pictures/a.png", str(pictures / "a.png"), "pictures/../pictures"]).pictures) == 1
    with pytest.raises(ValueError, match="--recursive"):
        (tmp_path / "outer" / "inner").mkdir(parents=True)
        find_pictures([str(tmp_path / "outer")])


@pytest.fixture
def address(pictures: Path) -> Iterator[str]:
    with static_host(pictures) as where:
        yield where


def test_addresses_and_standard_input(address: str, model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    options = ["--labels", LABELS, "--model", str(model_folder), "--output", str(tmp_path / "out")]
    result = run("segment", f"{address}/a.png?size=1", f"{address}/missing.png", *options)
    assert result.exit_code == 1
    assert "404" in result.stderr
    content = (pictures / "a.png").read_bytes()
    result = CliRunner().invoke(app, ["segment", "-", *options], input=content)
    assert result.exit_code == 0, result.output
    names = visible(tmp_path / "out")
    assert [name for name in names if name.endswith("_labels.png")] == ["a_labels.png", "stdin_labels.png"]
    first, second = (np.asarray(Image.open(tmp_path / "out" / name)) for name in ("a_labels.png", "stdin_labels.png"))
    np.testing.assert_array_equal(first, second)


def test_usage_errors_come_before_torch_and_any_terminal_will_do(pictures: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from fgaseg_hf.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    for arguments, message in (
        (["segment", "天空.png", "--labels", "sky"], "There is no picture"),
        (["segment", str(pictures), "--labels", " "], "empty"),
        (["segment", str(pictures), "--labels", "sky", "--formats", "gif"], "gif"),
        (["segment", str(pictures)], "--labels"),
        (["--version"], ""),
        (["segment", "--help"], ""),
    ):
        command = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(command, capture_output=True, encoding="cp1252", env=environment, timeout=120)
        assert result.stdout.splitlines()[-1] == f"{2 if message else 0} []", result.stderr
        assert message in result.stderr
