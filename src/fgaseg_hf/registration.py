# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Makes the Auto classes and pipelines of Transformers know these models, without importing either before it is used.

Each of Transformers' registries is told once it is there. If it is not there yet, imports are watched: when the
outermost import of a module of Transformers or of this package is over, and a registry came with it, it is told then.
Not earlier: in the midst of imports that need each other, half of a module is what one would get.
"""

import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

_WATCHED = ("transformers", "fgaseg_hf")


def _register_models() -> None:
    from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

    from .model.configuration_fgaseg import FGASegConfig
    from .model.modeling_fgaseg import FGASegForSemanticSegmentation, FGASegModel

    AutoConfig.register("fgaseg", FGASegConfig)
    AutoModel.register(FGASegConfig, FGASegModel)
    AutoModelForSemanticSegmentation.register(FGASegConfig, FGASegForSemanticSegmentation)
    # Where the stock pipeline "image-segmentation" looks up which models it takes.
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES.setdefault("fgaseg", FGASegForSemanticSegmentation.__name__)
    # What `save_pretrained` writes loads on machines without this package, from the code that is saved beside.
    FGASegConfig.register_for_auto_class()
    FGASegModel.register_for_auto_class("AutoModel")
    FGASegForSemanticSegmentation.register_for_auto_class("AutoModelForSemanticSegmentation")


def _register_image_processors() -> None:
    from transformers import AutoImageProcessor
    from transformers.models.auto import image_processing_auto

    from .model.configuration_fgaseg import FGASegConfig
    from .model.image_processing_fgaseg import FGASegImageProcessor, FGASegImageProcessorPil

    classes: dict[str, type] = {"torchvision": FGASegImageProcessor, "pil": FGASegImageProcessorPil}
    AutoImageProcessor.register(FGASegConfig, image_processor_classes=classes)
    # Every door prepares pictures by one backend, whatever else is installed; torchvision's is there by its name.
    getattr(image_processing_auto, "DEFAULT_TO_PIL_BACKEND_IMAGE_PROCESSORS", []).append(FGASegImageProcessor.__name__)
    FGASegImageProcessor.register_for_auto_class()
    FGASegImageProcessorPil.register_for_auto_class()


def _register_processor() -> None:
    from transformers import AutoProcessor

    from .model.configuration_fgaseg import FGASegConfig
    from .model.processing_fgaseg import FGASegProcessor

    AutoProcessor.register(FGASegConfig, FGASegProcessor)
    FGASegProcessor.register_for_auto_class()


def _register_tokenizer() -> None:
    from transformers import AutoTokenizer, CLIPTokenizer

    from .model.configuration_fgaseg import FGASegConfig

    AutoTokenizer.register(FGASegConfig, CLIPTokenizer)


def _register_pipeline() -> None:
    from transformers import AutoModelForSemanticSegmentation
    from transformers.pipelines import PIPELINE_REGISTRY

    from .model.pipeline_fgaseg import ZeroShotImageSegmentationPipeline

    PIPELINE_REGISTRY.register_pipeline(
        "zero-shot-image-segmentation",
        pipeline_class=ZeroShotImageSegmentationPipeline,
        pt_model=AutoModelForSemanticSegmentation,
        type="multimodal",
    )


class ImportWatcher:
    """Runs what waits for modules, once these are imported and no import of the watched packages is under way.

    Args:
        waiting: By the name of the module, what to run.
    """

    def __init__(self, waiting: dict[str, Callable[[], None]]) -> None:
        self._waiting = waiting
        self._executed: set[str] = set()
        self._thread = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Finds a module as Python does, and notices when it has been executed."""
        if not self._waiting or fullname.partition(".")[0] not in _WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        loader = None if spec is None else spec.loader
        # Loaders of other kinds may be shared by several modules.
        if isinstance(loader, importlib.machinery.SourceFileLoader | importlib.machinery.SourcelessFileLoader):
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                del loader.__dict__["exec_module"]
                with self._one_import():
                    execute(module)
                    self._executed.add(module.__name__)

            loader.__dict__["exec_module"] = exec_module
        return spec

    @contextmanager
    def _one_import(self) -> Iterator[None]:
        self._thread.depth = getattr(self._thread, "depth", 0) + 1
        try:
            yield
        finally:
            self._thread.depth -= 1
        self.run_what_is_ready()

    def run_what_is_ready(self) -> None:
        """Runs what waited for modules that are imported by now, unless an import is under way."""
        if getattr(self._thread, "depth", 0):
            return
        for name in list(self._waiting):
            spec = getattr(sys.modules.get(name), "__spec__", None)
            # One that was there before; of one that is just done, Python itself says so a moment later.
            was_there = spec is not None and not getattr(spec, "_initializing", False)
            if was_there or name in self._executed:
                # Taken out before it is run: running it imports modules, after which one comes here again.
                action = self._waiting.pop(name, None)
                if action is not None:
                    action()


_AUTO = "transformers.models.auto."
_watcher = ImportWatcher(
    {
        f"{_AUTO}configuration_auto": _register_models,
        f"{_AUTO}image_processing_auto": _register_image_processors,
        f"{_AUTO}processing_auto": _register_processor,
        f"{_AUTO}tokenization_auto": _register_tokenizer,
        "transformers.pipelines": _register_pipeline,
    }
)


def register_when_imported() -> None:
    """Tells the registries that are there, and has the others told when they are imported."""
    # First, so that no other finder comes before it.
    sys.meta_path.insert(0, _watcher)
    _watcher.run_what_is_ready()


__all__ = ["register_when_imported"]
