# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Whichever of Transformers and this package is imported first, Auto classes know the models; in fresh processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_processor

NOTHING_HEAVY = 'import sys; assert not {"torch", "transformers", "PIL", "numpy"} & set(sys.modules), "not quick";'

CONFIG = "from transformers import AutoConfig; print(type(AutoConfig.from_pretrained(FOLDER)).__name__)"
MODEL = (
    "from transformers import AutoModel, AutoModelForSemanticSegmentation; "
    "model = AutoModelForSemanticSegmentation.from_pretrained(FOLDER); print(type(model).__name__, "
    "type(AutoModel.from_config(model.config)).__name__)"
)
PROCESSORS = (
    "from transformers import AutoProcessor, AutoImageProcessor, AutoTokenizer; "
    "print(*(type(loader.from_pretrained(FOLDER)).__name__ for loader in (AutoProcessor, AutoImageProcessor)), "
    "len(AutoTokenizer.from_pretrained(FOLDER)) > 9)"
)
PIPELINE = "from transformers import pipeline; print(type(pipeline('zero-shot-image-segmentation', FOLDER)).__name__)"
SAVE = (
    "model.save_pretrained(OUT); import json, os; config = json.load(open(OUT + '/config.json')); "
    "print(sorted(config['auto_map']), os.path.exists(OUT + '/modeling_fgaseg.py'))"
)
AUTO_MAP = "['AutoConfig', 'AutoModel', 'AutoModelForSemanticSegmentation'] True"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    # Without the code, which Transformers would offer to run.
    for file in folder.glob("*.py"):
        file.unlink()
    return folder


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (
            ["import fgaseg_hf", NOTHING_HEAVY + CONFIG, PROCESSORS],
            ["FGASegConfig", "FGASegProcessor FGASegImageProcessorPil True"],
        ),
        (
            ["import fgaseg_hf, transformers.generation.utils", MODEL, SAVE, PIPELINE],
            ["FGASegForSemanticSegmentation FGASegModel", AUTO_MAP, "ZeroShotImageSegmentationPipeline"],
        ),
        pytest.param(
            ["from transformers import AutoModel, AutoProcessor", "import fgaseg_hf", MODEL, SAVE, PROCESSORS],
            ["FGASegForSemanticSegmentation FGASegModel", AUTO_MAP, "FGASegProcessor FGASegImageProcessorPil True"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                "from fgaseg_hf.model.modeling_fgaseg import FGASegForSemanticSegmentation as Model",
                "model = Model.from_pretrained(FOLDER)",
                SAVE,
                CONFIG,
            ],
            [AUTO_MAP, "FGASegConfig"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["import fgaseg_hf", PIPELINE], ["ZeroShotImageSegmentationPipeline"], marks=pytest.mark.slow),
    ],
)
def test_every_order_of_imports(model_folder: Path, tmp_path: Path, statements: list[str], expected: list[str]) -> None:
    code = "\n".join([f"FOLDER, OUT = {str(model_folder)!r}, {str(tmp_path)!r}", *statements])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == expected


def test_all_public_names_are_there() -> None:
    import fgaseg_hf

    for name in fgaseg_hf.__all__:
        assert getattr(fgaseg_hf, name).__name__ == name
        assert name in dir(fgaseg_hf)
    assert set(fgaseg_hf.__all__) == set(fgaseg_hf._MODULE_OF)
    with pytest.raises(AttributeError, match="nonsense"):
        fgaseg_hf.nonsense  # noqa: B018
