# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint of any kind made ready to segment pictures with given labels: what the command line works with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from ..conversion.clip_checkpoints import load_training_free
from ..conversion.named_models import builtin_model_folder
from ..model.configuration_fgaseg import FGASegConfig
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from ..model.processing_fgaseg import FGASegProcessor
from ..model.semantic_postprocessing import UNLABELLED_ID
from ..model.sliding_window import label_with_sliding_window
from ..model.vocabulary import FGASegVocabulary
from ..release.checkpoint_files import check_architecture


@dataclass
class Segmenter:
    """A model with the labels it looks for, whose text is encoded once for all pictures.

    Attributes:
        model: In evaluation mode, on the device to compute on.
        processor: Prepares the pictures.
        text_embeddings: (labels, dimension), unit rows; `None` if a vocabulary was set on the model.
        is_plain_clip: Whether the checkpoint was a CLIP, which segments without training.
    """

    model: FGASegForSemanticSegmentation
    processor: FGASegProcessor
    text_embeddings: torch.Tensor | None
    is_plain_clip: bool = False

    @classmethod
    def load(
        cls,
        model_name: str | None,
        class_names: Sequence[str],
        device: torch.device,
        templates: list[str] | None = None,
        num_kept_classes: int | None = None,
        vocabulary: FGASegVocabulary | None = None,
    ) -> "Segmenter":
        """Loads a checkpoint and encodes the labels.

        Args:
            model_name: A folder or an id on the Hub; `None` for the built-in model.
            class_names: What to look for.
            device: Where to compute.
            templates: Sentences around each name; `None` for the checkpoint's own.
            num_kept_classes: How many classes of each picture to examine; `None` for the checkpoint's own setting.
            vocabulary: What to look for instead, with groups or a background; its labels are `class_names`.

        Raises:
            ValueError: There is no such checkpoint, it is neither a FGASeg nor a CLIP, it is broken, or a template or
                label does not suit it.
        """
        source = str(builtin_model_folder()) if model_name is None else model_name
        overrides: dict[str, Any] = {} if num_kept_classes is None else {"num_kept_classes": num_kept_classes}
        with quiet_transformers():
            is_plain_clip = check_architecture(source, (FGASegConfig.model_type, "clip")) == "clip"
        if is_plain_clip:
            with quiet_transformers(), broken_checkpoints_named(source):
                model, processor = load_training_free(source, **overrides)
                model = model.float()
        else:
            # A vocabulary that lies beside the checkpoint is not what is asked for here.
            model, processor = load_checkpoint(source, vocabulary_key=None, **overrides)
        if templates:
            processor = FGASegProcessor(processor.image_processor, processor.tokenizer, prompt_templates=templates)
        model = model.eval().to(device)
        if vocabulary is not None:
            model.set_vocabulary(vocabulary.encode(model, processor))
            return cls(model, processor, None, is_plain_clip)
        prompts = processor(text=list(class_names), return_tensors="pt").to(device)
        with torch.inference_mode():
            text_embeddings = model.get_text_embeddings(**prompts)
        return cls(model, processor, text_embeddings, is_plain_clip)

    @torch.inference_mode()
    def segment(
        self, picture: Image.Image, sliding_window: bool = False, threshold: float | None = None
    ) -> torch.Tensor:
        """Labels every pixel of an upright RGB picture.

        Returns:
            int64 label map (height, width) of the picture's size; -1 where no label reaches `threshold`.
        """
        device = self.model.device
        size = (picture.height, picture.width)
        if not sliding_window:
            inputs = self.processor(images=picture, return_tensors="pt").to(device)
            outputs = self.model(**inputs, text_embeddings=self.text_embeddings)
            return self.processor.post_process_semantic_segmentation(outputs, [size], threshold=threshold)[0]

        inputs = self.processor(images=picture, do_resize=False, return_tensors="pt").to(device)
        ((label_map, best),) = label_with_sliding_window(
            lambda windows: self.model(pixel_values=windows, text_embeddings=self.text_embeddings).logits,
            inputs["pixel_values"],
            window_size=self.model.config.image_size,
        )
        return label_map if threshold is None else torch.where(best < threshold, UNLABELLED_ID, label_map)


def load_checkpoint(source: str, **overrides: Any) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    """Loads a FGASeg checkpoint in float32.

    Args:
        source: A folder or an id on the Hub.
        **overrides: Fields of the configuration to set instead.

    Raises:
        ValueError: There is no such checkpoint, or it is of another architecture or broken.
    """
    with quiet_transformers():
        check_architecture(source)
    with quiet_transformers(), broken_checkpoints_named(source):
        config = FGASegConfig.from_pretrained(source, **overrides)
        processor = FGASegProcessor.from_pretrained(source)
        model, loading_info = FGASegForSemanticSegmentation.from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(loading_info["missing_keys"]):
        raise ValueError(
            f"The model {source!r} lacks {len(missing)} of its weights ({missing[0]}, ...): save or download it anew."
        )
    return model, processor


@contextmanager
def broken_checkpoints_named(source: str) -> Iterator[None]:
    """Says of whatever goes wrong which checkpoint it is about."""
    try:
        yield
    # A checkpoint can be broken in as many ways as there are libraries that read it.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(f"The model {source!r} cannot be loaded ({reason}): save or download it anew.") from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps loading bars and warnings off the terminal: what goes wrong is said in one sentence of our own."""
    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bar_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bar_enabled:
            transformers_logging.enable_progress_bar()
