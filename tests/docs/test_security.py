# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What SECURITY.md promises of each input of a stranger, tried."""

import contextlib
import http.server
import io
import json
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_checkpoint_commands import Touch
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor, tiny_vocabulary

from fgaseg_hf import FGASegVocabulary, Segmenter
from fgaseg_hf.conversion.checkpoint_sources import read_checkpoint
from fgaseg_hf.data.benchmark_preparation import prepare_benchmark
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.model import picture_reading
from fgaseg_hf.model.picture_reading import open_picture
from fgaseg_hf.model.prompt_tokenizer import check_class_names

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


# Checkpoints.


def with_a_pickle(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Touch(canary)}, folder / "pytorch_model.bin")


def with_code(folder: Path, canary: Path) -> None:
    """Its own code would run where `trust_remote_code` is on."""
    code = f"from pathlib import Path\nPath({str(canary)!r}).touch()\n"
    for path in folder.glob("*.py"):
        path.write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForSemanticSegmentation": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(code)


def with_a_tokenizer_class(folder: Path, canary: Path) -> None:
    with_code(folder, canary)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings |= {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize("change", [with_a_pickle, with_code, with_a_tokenizer_class])
def test_a_checkpoint_runs_no_code(model_folder: Path, tmp_path: Path, change: Callable[[Path, Path], None]) -> None:
    canary = tmp_path / "canary"
    change(model_folder, canary)
    picture = np.zeros((40, 40, 3), np.uint8)
    # With a pickle in the place of its weights it is refused; else this package's own code answers, or refuses.
    try:
        assert Segmenter(model_folder)(picture, CLASS_NAMES).label_map.shape == (40, 40)
        assert change is not with_a_pickle
    except (ValueError, OSError) as error:
        assert change is not with_code, error
    assert not canary.exists()


def compressed(path: Path) -> None:
    """A member of 400 MB in 400 kB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("m/data.pkl", "w") as member:
        for _ in range(24):
            member.write(bytes(2**24))


def compressed_script(path: Path) -> None:
    compressed(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/constants.pkl", pickle.dumps(()))


def overlapping(path: Path) -> None:
    """Members that claim the same bytes many times."""
    torch.save({"a": torch.zeros(2**16)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        (member,) = [info for info in archive.infolist() if info.filename.endswith("data/0")]
        for number in range(1, 9):
            twin = zipfile.ZipInfo(f"m/data/{number}")
            twin.header_offset, twin.file_size, twin.CRC = member.header_offset, member.file_size, member.CRC
            twin.compress_size = member.compress_size
            archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]


def repeated(path: Path) -> None:
    """A tensor of 4 TB made of one number."""
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)


@pytest.mark.parametrize("bomb", [compressed, compressed_script, overlapping, repeated])
def test_a_checkpoint_takes_the_memory_that_its_file_has(tmp_path: Path, bomb: Callable[[Path], None]) -> None:
    bomb(tmp_path / "bomb.pth")
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="is refused"):
        read_checkpoint(tmp_path / "bomb.pth")
    # KiB: much less than any of them unfolds to.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


# Vocabularies.


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "vocabulary.json", "a/../b.safetensors"])
def test_a_vocabulary_names_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    tiny_vocabulary().encode(tiny_model(), tiny_processor()).save(tmp_path / "words")
    path = tmp_path / "words" / "vocabulary.json"
    description = json.loads(path.read_text())
    (embeddings,) = (tmp_path / "words").glob("*.safetensors")
    (tmp_path / "secret.safetensors").write_bytes(embeddings.read_bytes())
    description["encoding"]["embeddings_file"] = name
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError, match="it names the embeddings"):
        FGASegVocabulary.load(tmp_path / "words")


def test_a_vocabulary_whose_embeddings_were_changed_is_refused(tmp_path: Path) -> None:
    tiny_vocabulary().encode(tiny_model(), tiny_processor()).save(tmp_path)
    (embeddings,) = tmp_path.glob("*.safetensors")
    content = bytearray(embeddings.read_bytes())
    content[-1] ^= 1
    embeddings.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="changed or cut off"):
        FGASegVocabulary.load(tmp_path)


# Data sets.


def folder_of_pictures(folder: Path) -> Path:
    for kind, pixels in (("images", np.zeros((4, 4, 3), np.uint8)), ("annotations", np.zeros((4, 4), np.uint8))):
        (folder / kind / "train").mkdir(parents=True)
        Image.fromarray(pixels).save(folder / kind / "train" / "p.png")
    (folder / "class_names.txt").write_text("sky\ncat")
    return folder


def test_a_data_set_runs_no_code(tmp_path: Path) -> None:
    """Neither a loading script of the folder's name nor modules beside the pictures."""
    source, canary = folder_of_pictures(tmp_path / "source"), tmp_path / "canary"
    prepare_benchmark("folder", source, tmp_path / "out", show_progress=False)
    for folder in (source, tmp_path / "out"):
        for name in (f"{folder.name}.py", "__init__.py", "conftest.py", "PIL.py"):
            (folder / name).write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\n")
    arguments = DatasetArguments(dataset=str(tmp_path / "out"))
    with pytest.raises(ValueError, match="has a loading script"):
        load_segmentation_splits(arguments, ["train"])
    (tmp_path / "out" / "out.py").unlink()
    splits = load_segmentation_splits(arguments, ["train"])
    assert len(splits["train"]) == 1
    prepare_benchmark("folder", source, tmp_path / "again", show_progress=False)
    assert not canary.exists()


def test_preparing_writes_nowhere_but_its_folder(tmp_path: Path) -> None:
    source = folder_of_pictures(tmp_path / "source")
    outside = tmp_path / "outside"
    outside.mkdir()
    # A link that leads out of the source, and a name that would lead out of the folder if it were a path.
    (source / "images" / "train" / "link.png").symlink_to(source / "images" / "train" / "p.png")
    (source / "annotations" / "train" / "link.png").symlink_to(source / "annotations" / "train" / "p.png")
    (source / "class_names.txt").write_text("../outside/sky\ncat")
    before = sorted(tmp_path.rglob("*"))
    prepare_benchmark("folder", source, tmp_path / "out", show_progress=False)
    now = [path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")]
    assert sorted(now) == before


# Class names.


def test_class_names_change_nothing_but_themselves() -> None:
    for name in ("sky\nerror: all is well", "\x1b[2J", "a\ud800", "\x00"):
        with pytest.raises(ValueError) as error:
            check_class_names(["tree", name])
        assert str(error.value).isprintable()
    with pytest.raises(ValueError) as error:
        check_class_names(["x" * 100_000, "x" * 100_000])
    assert len(str(error.value)) < 400


# Addresses.


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/picture.png")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            if self.path == "/silent":
                silence.wait(20)
            elif self.path == "/endless":
                with contextlib.suppress(OSError):
                    for _ in range(200):
                        self.wfile.write(bytes(10_000))
            else:
                self.wfile.write(stream.getvalue())

        def log_message(self, *arguments: Any) -> None:
            pass

    silence = threading.Event()
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", asked
    silence.set()
    listening.shutdown()
    listening.server_close()
    thread.join()


def test_an_address_is_asked_for_and_bounded(server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    address, asked = server
    assert open_picture(f"{address}/moved").size == (8, 8)
    assert asked == ["/moved", "/picture.png"]
    with pytest.raises(ValueError, match="timed out|Timeout"):
        open_picture(f"{address}/silent", timeout=0.2)
    monkeypatch.setattr(picture_reading, "MAX_DOWNLOAD_BYTES", 100_000)
    with pytest.raises(ValueError, match="longer than the"):
        open_picture(f"{address}/endless")


def test_nothing_but_addresses_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    for source in (f"file://{tmp_path}/secret.txt", "ftp://127.0.0.1/x.png", str(tmp_path / "secret.txt")):
        with pytest.raises(ValueError, match="Cannot read the picture") as error:
            open_picture(source)
        assert "secret\n" not in str(error.value)


def test_each_row_of_the_table_has_its_tests() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:5] for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 8
    for name, _, _, tests in rows:
        for mentioned in tests.replace("`", "").split(","):
            path, _, test = mentioned.strip().partition("::")
            content = (ROOT / "tests" / path).read_text(encoding="utf-8")
            assert f"def {test}(" in content, (name, mentioned)
