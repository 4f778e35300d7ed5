# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg for Transformers: open-vocabulary semantic segmentation with words of one's own.

The names below are imported when they are first used, so that `import fgaseg_hf` and `fgaseg --help` are quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registration import register_when_imported

if TYPE_CHECKING:
    from .conversion.named_models import builtin_model_folder
    from .inference.segmentation import Segmentation
    from .inference.segmenter import Segmenter
    from .model.configuration_fgaseg import FGASegConfig
    from .model.image_processing_fgaseg import FGASegImageProcessor, FGASegImageProcessorPil
    from .model.model_outputs import FGASegModelOutput, FGASegOutput
    from .model.modeling_fgaseg import FGASegForSemanticSegmentation, FGASegModel, FGASegPreTrainedModel
    from .model.pipeline_fgaseg import ZeroShotImageSegmentationPipeline
    from .model.processing_fgaseg import FGASegProcessor
    from .model.sliding_window import label_with_sliding_window, predict_with_sliding_window
    from .model.vocabulary import FGASegVocabulary

__version__ = "0.1.0"

_MODULE_OF = {
    "FGASegConfig": "model.configuration_fgaseg",
    "FGASegForSemanticSegmentation": "model.modeling_fgaseg",
    "FGASegImageProcessor": "model.image_processing_fgaseg",
    "FGASegImageProcessorPil": "model.image_processing_fgaseg",
    "FGASegModel": "model.modeling_fgaseg",
    "FGASegModelOutput": "model.model_outputs",
    "FGASegOutput": "model.model_outputs",
    "FGASegPreTrainedModel": "model.modeling_fgaseg",
    "FGASegProcessor": "model.processing_fgaseg",
    "FGASegVocabulary": "model.vocabulary",
    "Segmentation": "inference.segmentation",
    "Segmenter": "inference.segmenter",
    "ZeroShotImageSegmentationPipeline": "model.pipeline_fgaseg",
    "builtin_model_folder": "conversion.named_models",
    "label_with_sliding_window": "model.sliding_window",
    "predict_with_sliding_window": "model.sliding_window",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    # Found without this function from now on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})


register_when_imported()

__all__ = [
    "FGASegConfig",
    "FGASegForSemanticSegmentation",
    "FGASegImageProcessor",
    "FGASegImageProcessorPil",
    "FGASegModel",
    "FGASegModelOutput",
    "FGASegOutput",
    "FGASegPreTrainedModel",
    "FGASegProcessor",
    "FGASegVocabulary",
    "Segmentation",
    "Segmenter",
    "ZeroShotImageSegmentationPipeline",
    "builtin_model_folder",
    "label_with_sliding_window",
    "predict_with_sliding_window",
]
