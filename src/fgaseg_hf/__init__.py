# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg for Transformers: open-vocabulary semantic segmentation with words of one's own."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    AutoTokenizer,
    CLIPTokenizer,
)
from transformers.models.auto import image_processing_auto
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

from .conversion.named_models import builtin_model_folder
from .inference.segmentation import Segmentation
from .inference.segmenter import Segmenter
from .model.configuration_fgaseg import FGASegConfig
from .model.image_processing_fgaseg import FGASegImageProcessor, FGASegImageProcessorPil
from .model.modeling_fgaseg import (
    FGASegForSemanticSegmentation,
    FGASegModel,
    FGASegModelOutput,
    FGASegOutput,
    FGASegPreTrainedModel,
)
from .model.pipeline_fgaseg import ZeroShotImageSegmentationPipeline
from .model.processing_fgaseg import FGASegProcessor
from .model.sliding_window import label_with_sliding_window, predict_with_sliding_window
from .model.vocabulary import FGASegVocabulary

AutoConfig.register("fgaseg", FGASegConfig)
AutoModel.register(FGASegConfig, FGASegModel)
AutoModelForSemanticSegmentation.register(FGASegConfig, FGASegForSemanticSegmentation)
AutoImageProcessor.register(
    FGASegConfig,
    image_processor_classes={"torchvision": FGASegImageProcessor, "pil": FGASegImageProcessorPil},
)
# Every door prepares pictures by one backend, whatever else is installed; torchvision's is there by its name.
getattr(image_processing_auto, "DEFAULT_TO_PIL_BACKEND_IMAGE_PROCESSORS", []).append(FGASegImageProcessor.__name__)
AutoProcessor.register(FGASegConfig, FGASegProcessor)
AutoTokenizer.register(FGASegConfig, CLIPTokenizer)
# What `save_pretrained` writes loads on machines without this package, from the code that is saved beside the weights.
FGASegConfig.register_for_auto_class()
FGASegModel.register_for_auto_class("AutoModel")
FGASegForSemanticSegmentation.register_for_auto_class("AutoModelForSemanticSegmentation")
FGASegImageProcessor.register_for_auto_class()
FGASegImageProcessorPil.register_for_auto_class()
FGASegProcessor.register_for_auto_class()
# Where the stock pipeline "image-segmentation" looks up which models it takes.
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES.setdefault("fgaseg", FGASegForSemanticSegmentation.__name__)
PIPELINE_REGISTRY.register_pipeline(
    "zero-shot-image-segmentation",
    pipeline_class=ZeroShotImageSegmentationPipeline,
    pt_model=AutoModelForSemanticSegmentation,
    type="multimodal",
)

__version__ = "0.1.0"


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
