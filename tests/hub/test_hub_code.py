# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A saved folder brings its own code: it loads where Transformers is installed and this package is not."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch
from hub_server import local_hub
from tiny_models import CLASS_NAMES, TRAINING_FREE, tiny_inputs, tiny_model, tiny_processor
from transformers import AutoModelForSemanticSegmentation

import fgaseg_hf
from fgaseg_hf import FGASegForSemanticSegmentation

SOURCE = Path(fgaseg_hf.__file__).parent / "model"
# What checkpoints are loaded through; each brings all modules that it imports.
EXPORTED_ROOTS = (
    "configuration_fgaseg",
    "modeling_fgaseg",
    "image_processing_fgaseg",
    "processing_fgaseg",
    "pipeline_fgaseg",
)
# What a machine has that runs a Transformers model on pictures; everything else needs `try:` around its import.
ALLOWED_PACKAGES = {"torch", "transformers", "huggingface_hub", "safetensors", "numpy", "PIL"}

REPORT = """
import sys, torch
try:
    import fgaseg_hf
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("this process must not have the package")
from transformers import (AutoConfig, AutoImageProcessor, AutoModel, AutoModelForSemanticSegmentation, AutoProcessor,
                          AutoTokenizer)
source, tensors = sys.argv[1:]
inputs = torch.load(tensors, weights_only=True)
expected = inputs.pop("expected")
trust = {"trust_remote_code": True}
config = AutoConfig.from_pretrained(source, **trust)
assert config.model_type == "fgaseg"
model, base = (c.from_pretrained(source, **trust) for c in (AutoModelForSemanticSegmentation, AutoModel))
assert type(base).__name__ == "FGASegModel"
processor = AutoProcessor.from_pretrained(source, **trust)
image_processor = AutoImageProcessor.from_pretrained(source, **trust)
assert type(image_processor).__name__ == type(processor.image_processor).__name__ == "FGASegImageProcessorPil"
assert type(AutoTokenizer.from_pretrained(source, **trust)).__name__.startswith("CLIPTokenizer")
picture, names = inputs.pop("picture").numpy(), inputs.pop("names")
encoded = processor(images=picture, text=names, return_tensors="pt")
assert torch.equal(encoded["pixel_values"], image_processor(picture, return_tensors="pt")["pixel_values"])
with torch.no_grad():
    output = model(**encoded)
    assert torch.equal(output.logits, expected["logits"])
    assert torch.equal(base(**encoded).global_pseudo_masks, expected["global_pseudo_masks"])
label_map = processor.post_process_semantic_segmentation(output, [picture.shape[:2]])[0]
assert torch.equal(label_map, expected["label_map"])
assert model.trainable_parameter_names() == expected["trained"]
import numpy
from PIL import Image
from transformers import pipeline
for task in ("zero-shot-image-segmentation", None):
    segmenter = pipeline(task, model=source, device="cpu", **trust)
    assert type(segmenter).__name__ == "ZeroShotImageSegmentationPipeline"
    label_map = torch.full(picture.shape[:2], -1)
    for segment in segmenter(Image.fromarray(picture), candidate_labels=names):
        label_map[torch.from_numpy(numpy.array(segment["mask"])) == 255] = names.index(segment["label"])
    assert torch.equal(label_map, expected["label_map"])
"""

KNOWN_CLASSES = """
import sys, torch
from PIL import Image
from transformers import AutoModelForSemanticSegmentation, AutoProcessor, pipeline
source, tensors = sys.argv[1:]
expected = torch.load(tensors, weights_only=True)
trust = {"trust_remote_code": True}
model = AutoModelForSemanticSegmentation.from_pretrained(source, **trust)
assert type(model).__module__.startswith("transformers_modules.")
with torch.no_grad():
    assert torch.equal(model(expected["pixel_values"]).logits, expected["logits"])
assert model(expected["pixel_values"], labels=expected["labels"]).loss.requires_grad
processor = AutoProcessor.from_pretrained(source, **trust)
assert processor(text=["sky", "a new word"], return_tensors="pt")["input_ids"].shape[0] == 2
segments = pipeline("image-segmentation", model=source, **trust)(Image.new("RGB", (30, 40)))
assert {segment["label"] for segment in segments} <= set(model.config.id2label.values())
# Other names, made words by the checkpoint's own code.
other = AutoModelForSemanticSegmentation.from_pretrained(source, id2label={0: "sea"}, label2id={"sea": 0}, **trust)
assert other(expected["pixel_values"]).logits.shape[1] == 1
print("equal")
"""

LOAD = REPORT + "print('equal')"

LOAD_AND_SAVE = (
    REPORT
    + """
folder = tensors + "_saved_again"
model.save_pretrained(folder)
processor.save_pretrained(folder)
print("equal")
"""
)

PUSH = """
import sys
import fgaseg_hf
from transformers import AutoModelForSemanticSegmentation, AutoProcessor
folder, repository = sys.argv[1:]
AutoProcessor.from_pretrained(folder).push_to_hub(repository, token="hf_token_of_the_test")
AutoModelForSemanticSegmentation.from_pretrained(folder).push_to_hub(
    repository, token="hf_token_of_the_test", tags=["tiny"], commit_message="A tiny model"
)
print("pushed")
"""


def run(python: Path | str, code: str, *arguments: object, **environment: str) -> str:
    """Runs code in a fresh process that knows no Hub but what `environment` tells it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON", "COVERAGE"))}
    done = subprocess.run(
        [str(python), "-I", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**clean, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def python_without_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that has all packages of this one but ours and torchvision."""
    folder = tmp_path_factory.mktemp("venv") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    for place in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}:
        for entry in Path(place).iterdir():
            is_ours = entry.name.startswith(("fgaseg_hf", "__editable__", "torchvision"))
            if not is_ours and entry.suffix != ".pth" and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def save_with_expected(model: FGASegForSemanticSegmentation, folder: Path, tensors: Path) -> None:
    """Writes what `save_pretrained` writes, and a file of inputs and what they must give."""
    processor = tiny_processor()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    picture = torch.randint(0, 256, (50, 41, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoded = processor(images=picture.numpy(), text=CLASS_NAMES, return_tensors="pt")
    with torch.no_grad():
        output = model(**encoded)
    expected = {
        "logits": output.logits,
        "global_pseudo_masks": output.global_pseudo_masks,
        "label_map": processor.post_process_semantic_segmentation(output, [(50, 41)])[0],
        "trained": model.trainable_parameter_names(),
    }
    torch.save({"picture": picture, "names": CLASS_NAMES, "expected": expected}, tensors)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder that `save_pretrained` wrote, and a file of inputs and what they must give."""
    folder, tensors = tmp_path_factory.mktemp("saved"), tmp_path_factory.mktemp("tensors") / "tensors.pt"
    save_with_expected(tiny_model(num_kept_classes=3), folder, tensors)
    return folder, tensors


def simulate_hub_cache(folder: Path, cache: Path, repository: str) -> None:
    """Lays a folder out as the Hub's client keeps what it downloads."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    kept = cache / f"models--{repository.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(revision)
    shutil.copytree(folder, kept / "snapshots" / revision)


def test_saved_folder_brings_every_module_and_names_every_class(saved: tuple[Path, Path]) -> None:
    folder, _ = saved
    modules = {path.stem for path in folder.glob("*.py")}
    assert modules == set(exported_modules())
    for module in modules:
        assert (folder / f"{module}.py").read_bytes() == (SOURCE / f"{module}.py").read_bytes()
    assert json.loads((folder / "config.json").read_text())["auto_map"] == {
        "AutoConfig": "configuration_fgaseg.FGASegConfig",
        "AutoModel": "modeling_fgaseg.FGASegModel",
        "AutoModelForSemanticSegmentation": "modeling_fgaseg.FGASegForSemanticSegmentation",
    }
    pipelines = json.loads((folder / "config.json").read_text())["custom_pipelines"]
    assert pipelines["zero-shot-image-segmentation"]["impl"] == "pipeline_fgaseg.ZeroShotImageSegmentationPipeline"
    settings = json.loads((folder / "processor_config.json").read_text())
    assert settings["auto_map"]["AutoProcessor"] == "processing_fgaseg.FGASegProcessor"
    assert settings["image_processor"]["auto_map"]["AutoImageProcessor"] == [
        "image_processing_fgaseg.FGASegImageProcessorPil",
        None,
    ]


def test_loads_from_a_folder_without_the_package_and_saves_again(
    saved: tuple[Path, Path], python_without_package: Path, tmp_path: Path
) -> None:
    folder, tensors = saved
    modules = str(tmp_path / "modules")
    offline = {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": modules, "HF_HOME": str(tmp_path)}
    assert run(python_without_package, LOAD_AND_SAVE, folder, tensors, **offline) == "equal"
    # What such a process saves is whole again.
    again = Path(f"{tensors}_saved_again")
    assert {path.name for path in again.iterdir()} >= {path.name for path in folder.iterdir()}
    assert (
        run(python_without_package, LOAD, again, tensors, **{**offline, "HF_MODULES_CACHE": modules + "_2"}) == "equal"
    )


def test_a_training_free_model_loads_without_the_package(python_without_package: Path, tmp_path: Path) -> None:
    model = tiny_model(**TRAINING_FREE, affinity_layer=1, dense_attention="neighbour", dense_residual="none")
    save_with_expected(model, tmp_path / "model", tmp_path / "tensors.pt")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    assert run(python_without_package, LOAD, tmp_path / "model", tmp_path / "tensors.pt", **offline) == "equal"


@pytest.mark.slow
def test_a_model_that_knows_its_classes_loads_without_the_package(python_without_package: Path, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "start")
    tiny_processor().save_pretrained(tmp_path / "start")
    model = FGASegForSemanticSegmentation.from_pretrained(tmp_path / "start", id2label={0: "red car", 1: "sky"})
    pixel_values = tiny_inputs()["pixel_values"]
    before = model.vocabulary.embeddings.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        model.train()(pixel_values, labels=torch.ones(2, 8, 8, dtype=torch.long)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # As Trainer leaves a folder that was given the image processor alone.
    model.eval().save_pretrained(tmp_path / "model")
    tiny_processor().image_processor.save_pretrained(tmp_path / "model")
    assert not torch.equal(model.get_text_embeddings(model.vocabulary.input_ids), before)
    with torch.no_grad():
        tensors = {"pixel_values": pixel_values, "logits": model(pixel_values).logits}
    torch.save({**tensors, "labels": torch.zeros(2, 8, 8, dtype=torch.long)}, tmp_path / "tensors.pt")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    arguments = (tmp_path / "model", tmp_path / "tensors.pt")
    assert run(python_without_package, KNOWN_CLASSES, *arguments, **offline) == "equal"


@pytest.mark.slow
def test_loads_from_the_hub_cache_without_the_package(
    saved: tuple[Path, Path], python_without_package: Path, tmp_path: Path
) -> None:
    folder, tensors = saved
    simulate_hub_cache(folder, tmp_path / "hub", "someone/tiny-fgaseg")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    assert run(python_without_package, LOAD, "someone/tiny-fgaseg", tensors, **offline) == "equal"


@pytest.mark.slow
def test_pushed_models_load_from_the_hub_without_the_package(
    saved: tuple[Path, Path], python_without_package: Path, tmp_path: Path
) -> None:
    folder, tensors = saved
    with local_hub() as hub:
        online = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        assert run(sys.executable, PUSH, folder, "someone/tiny-fgaseg", **online) == "pushed"
        repository = hub.repositories["someone/tiny-fgaseg"]
        assert repository.commits[-1] == "A tiny model"
        assert hub.tokens == {"Bearer hf_token_of_the_test"}
        for path in folder.iterdir():
            if path.suffix in (".py", ".safetensors"):
                assert repository.files[path.name] == path.read_bytes(), path.name
            assert path.name in repository.files
        assert "tiny" in repository.files["README.md"].decode()

        assert run(python_without_package, LOAD, "someone/tiny-fgaseg", tensors, **online) == "equal"
    # The stand-in is gone: what was downloaded is enough.
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    assert run(python_without_package, LOAD, "someone/tiny-fgaseg", tensors, **offline) == "equal"


def test_with_the_package_its_classes_win_and_nothing_is_asked(saved: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = saved
    without_code = tmp_path / "without_code"
    shutil.copytree(folder, without_code, ignore=shutil.ignore_patterns("*.py"))
    for source in (folder, without_code):
        for trust in ({}, {"trust_remote_code": False}, {"trust_remote_code": True}):
            model = fgaseg_hf.FGASegForSemanticSegmentation.from_pretrained(source)
            auto = AutoModelForSemanticSegmentation.from_pretrained(source, **trust)
            assert type(auto) is type(model)
            assert torch.equal(model(**tiny_inputs()).logits, auto(**tiny_inputs()).logits)


def exported_modules() -> list[str]:
    """The modules that checkpoints bring: the roots and all that they import, by relative imports."""
    found: list[str] = []
    waiting = [root for root in EXPORTED_ROOTS if (SOURCE / f"{root}.py").exists()]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.append(module)
        for node in ast.walk(ast.parse((SOURCE / f"{module}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                waiting.append(node.module.split(".")[0])
    return sorted(found)


def export_faults(text: str) -> list[str]:
    """What in a module's text breaks its export to the Hub; Transformers reads relative imports line by line."""
    faults = []
    tree = ast.parse(text)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.level > 1:
                faults.append(f"line {node.lineno}: imports from above the folder")
            elif node.module is None:
                faults.append(f"line {node.lineno}: `from . import` is not copied")
            elif "." in node.module:
                faults.append(f"line {node.lineno}: imports from a sub-package")
            else:
                imported.add(node.module)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                package = name.split(".")[0]
                if package not in sys.stdlib_module_names and package not in ALLOWED_PACKAGES:
                    faults.append(f"line {node.lineno}: imports {package}")
    # Transformers finds relative imports by these two patterns, in docstrings and comments too.
    read = re.findall(r"^\s*import\s+\.(\S+)\s*$", text, flags=re.MULTILINE)
    read += re.findall(r"^\s*from\s+\.(\S+)\s+import", text, flags=re.MULTILINE)
    faults += [f"a line outside the code reads as an import of {name}" for name in set(read) - imported]
    return faults


@pytest.mark.parametrize("module", exported_modules())
def test_every_exported_module_can_be_exported(module: str) -> None:
    assert export_faults((SOURCE / f"{module}.py").read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "from . import losses",
        "from .folder.losses import x",
        "from ..losses import x",
        "from fgaseg_hf.model.losses import x",
        "import fgaseg_hf",
        "import torchvision",
        '"""Do it so:\n\n    from .examples import x\n"""',
        '"""Words\nfrom .pixels import these"""',
    ],
)
def test_what_breaks_the_export_is_found(line: str) -> None:
    assert export_faults("from .configuration_fgaseg import FGASegConfig\n") == []
    assert export_faults(line)


def test_transformers_itself_finds_the_same_modules() -> None:
    from transformers.dynamic_module_utils import get_relative_import_files

    found = {Path(file).stem for file in get_relative_import_files(SOURCE / "modeling_fgaseg.py")}
    assert found < set(exported_modules())
    assert all(importlib.util.find_spec(f"fgaseg_hf.model.{module}") for module in found)
