"""`training/evaluate.py`: its result file, its pictures, and the same counts on several processes."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

SCRIPT = Path(__file__).parent.parent / "training" / "evaluate.py"


@pytest.fixture(scope="module")
def evaluate() -> ModuleType:
    """The script, loaded by its path: by its name Python would find the library `evaluate`."""
    spec = spec_from_file_location("evaluate_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    tiny_model().save_pretrained(folder / "model")
    tiny_processor().save_pretrained(folder / "model")
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 255, (30, 40, 3)).astype(np.uint8)) for _ in range(11)]
    label_maps = [Image.fromarray(generator.choice([0, 1, 2, 4, 9], (30, 40)).astype(np.uint8)) for _ in range(11)]
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    (folder / "dataset" / "data").mkdir(parents=True)
    Dataset.from_dict({"image": pictures, "annotation": label_maps}, features=features).to_parquet(
        folder / "dataset" / "data" / "validation-00000-of-00001.parquet"
    )
    (folder / "dataset" / "class_names.txt").write_text("\n".join(CLASS_NAMES))
    (folder / "groups.json").write_text(json.dumps({"seen": CLASS_NAMES[:3], "unseen": CLASS_NAMES[3:]}))
    return folder


def arguments(inputs: Path) -> list[str]:
    return ["--model", str(inputs / "model"), "--dataset", str(inputs / "dataset"), "--ignored_ids", "9"]


def test_result_file_and_pictures(
    evaluate: ModuleType, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--output", str(tmp_path / "new" / "result.json"), "--save_pictures", "2", str(tmp_path / "pictures")]
    report = evaluate.main([*arguments(inputs), *more, "--class_groups", str(inputs / "groups.json")])
    saved: dict[str, Any] = json.loads((tmp_path / "new" / "result.json").read_text())
    assert saved["result"] == json.loads(json.dumps(report["result"]))
    assert saved["result"]["num_pictures"] == 11
    assert set(saved["result"]["groups"]) == {"seen", "unseen"}
    assert len(saved["config_sha256"]) == 64
    assert saved["versions"]["torch"]
    assert "--ignored_ids 9" in saved["command"]
    printed = capsys.readouterr().out
    assert "mean_iou" in printed
    assert "red car" in printed
    paths = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in paths] == ["000000.png", "000010.png"]
    assert Image.open(paths[0]).width > 3 * 40


def test_kept_classes_reach_the_model(evaluate: ModuleType, inputs: Path) -> None:
    report = evaluate.main([*arguments(inputs), "--num_kept_classes", "2", "--num_pictures", "2"])
    assert report["protocol"]["num_kept_classes"] == 2
    assert report["result"]["num_pictures"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "test"], "test"),
        (["--save_pictures", "five", "here"], "--save_pictures"),
        (["--ignored_ids", "255"], "holds the id 9"),
        (["--vocabulary", "mine"], "picture+16"),
    ],
)
def test_bad_arguments_get_one_sentence(evaluate: ModuleType, inputs: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        evaluate.main([*arguments(inputs), *more])
    assert message in str(error.value)
    with pytest.raises(ValueError, match="--model is missing"):
        evaluate.main([])


@pytest.mark.slow
def test_two_processes_count_every_picture_once(evaluate: ModuleType, inputs: Path, tmp_path: Path) -> None:
    one = evaluate.main(arguments(inputs))
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", port]
    finished = subprocess.run(
        [*command, str(SCRIPT), *arguments(inputs), "--output", str(tmp_path / "two.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent.parent / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["num_processes"] == 2
    assert two["confusion_matrix_sha256"] == one["confusion_matrix_sha256"]
    assert two["result"] == json.loads(json.dumps(one["result"]))
