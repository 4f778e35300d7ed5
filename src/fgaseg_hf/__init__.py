"""FGASeg for Transformers: open-vocabulary semantic segmentation with words of one's own."""

from importlib import resources
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForSemanticSegmentation,
    AutoProcessor,
    AutoTokenizer,
    CLIPTokenizer,
)

from .configuration_fgaseg import FGASegConfig
from .image_processing_fgaseg import FGASegImageProcessor, FGASegImageProcessorPil
from .modeling_fgaseg import (
    FGASegForSemanticSegmentation,
    FGASegModel,
    FGASegModelOutput,
    FGASegOutput,
    FGASegPreTrainedModel,
)
from .processing_fgaseg import FGASegProcessor
from .sliding_window import predict_with_sliding_window

AutoConfig.register("fgaseg", FGASegConfig)
AutoModel.register(FGASegConfig, FGASegModel)
AutoModelForSemanticSegmentation.register(FGASegConfig, FGASegForSemanticSegmentation)
AutoImageProcessor.register(
    FGASegConfig,
    image_processor_classes={"torchvision": FGASegImageProcessor, "pil": FGASegImageProcessorPil},
)
AutoProcessor.register(FGASegConfig, FGASegProcessor)
AutoTokenizer.register(FGASegConfig, CLIPTokenizer)

__version__ = "0.1.0"


def builtin_model_folder() -> Path:
    """The folder of the small model that comes with the package, trained on drawn scenes."""
    return Path(str(resources.files(__name__) / "builtin_model"))


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
    "builtin_model_folder",
    "predict_with_sliding_window",
]
