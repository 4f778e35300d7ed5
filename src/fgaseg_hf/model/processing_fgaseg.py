# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Class names -> prompts -> `input_ids`, together with the pictures of the image processor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BatchFeature
from transformers.image_utils import ImageInput
from transformers.processing_utils import ProcessorMixin
from transformers.utils import IMAGE_PROCESSOR_NAME, PROCESSOR_NAME, cached_file

from .clip_initialisation import read_clip_config
from .image_processing_fgaseg import FGASegImageProcessorPil
from .prompt_tokenizer import (
    DEFAULT_PROMPT_TEMPLATE,
    check_templates,
    check_tokenizer,
    tokenize_class_names,
)


class FGASegProcessor(ProcessorMixin):
    """Prepares pictures and the words to look for in them.

    Args:
        image_processor: A `FGASegImageProcessor` or `FGASegImageProcessorPil`.
        tokenizer: The tokenizer of the checkpoint's CLIP text tower.
        prompt_templates: Sentences with one `{}` for the class name, by default the published
            "A photo of a {} in the scene". Of several, the model averages the text embeddings.

    Raises:
        ValueError: `prompt_templates` is empty, or one of them has no `{}` or several.

    Example:
        >>> inputs = processor(images=picture, text=["red car", "blue house", "sky"], return_tensors="pt")
        >>> outputs = model(**inputs)
        >>> label_map = processor.post_process_semantic_segmentation(outputs, [picture.size[::-1]])[0]
    """

    # A batch of prompts is a tensor: they are padded to the longest of them.
    text_kwargs = {"padding": True}

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, prompt_templates: list[str] | None = None
    ) -> None:
        super().__init__(image_processor, tokenizer)
        templates = [DEFAULT_PROMPT_TEMPLATE] if prompt_templates is None else prompt_templates
        self.prompt_templates = check_templates(templates)

    @classmethod
    def from_clip(
        cls, clip: str | Path, image_size: int | None = None, prompt_templates: list[str] | None = None
    ) -> "FGASegProcessor":
        """Makes the processor of a model that was made by `FGASegForSemanticSegmentation.from_clip`.

        Args:
            clip: The CLIP checkpoint, a folder in the Hub's layout or a Hub id. Its tokenizer is used, and the mean and
                standard deviation of its pictures, if it says them.
            image_size: Side in pixels that pictures are resized to: the model's `config.image_size`. CLIP's own, as
                with `training_free=True`, if not given.
            prompt_templates: As for the processor.

        Raises:
            ValueError: The checkpoint is not a CLIP model, or its tokenizer is missing or of another text tower.
        """
        towers, own_image_size = read_clip_config(clip)
        tokenizer = AutoTokenizer.from_pretrained(clip)
        text = towers.text_config
        check_tokenizer(tokenizer, text, clip)
        side = own_image_size if image_size is None else image_size
        known: dict[str, Any] = {}
        for name in (IMAGE_PROCESSOR_NAME, PROCESSOR_NAME):
            if cached_file(clip, name, _raise_exceptions_for_missing_entries=False) is not None:
                saved = FGASegImageProcessorPil.get_image_processor_dict(clip)[0]
                known = {key: saved[key] for key in ("image_mean", "image_std") if saved.get(key) is not None}
                break
        image_processor = FGASegImageProcessorPil(size={"height": side, "width": side}, **known)
        # As long a prompt as the text tower takes, whatever the tokenizer's files say.
        tokenizer.model_max_length = min(tokenizer.model_max_length, text.max_position_embeddings)
        return cls(image_processor, tokenizer, prompt_templates=prompt_templates)

    def __call__(
        self,
        images: ImageInput | None = None,
        text: str | Sequence[str] | None = None,
        segmentation_maps: ImageInput | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepares pictures, class names, or both.

        Args:
            images: One picture or several, of any kind that the image processor takes.
            text: The class names, one string a class (a single string is a single class, commas and all).
            segmentation_maps: As many label maps as pictures, their ids being positions in `text`.
            **kwargs: Settings of the image processor and of the tokenizer for this call alone, `return_tensors` first.

        Returns:
            Whichever were given, in this order: `pixel_values` (batch, 3, height, width), `labels` (batch, height,
            width), `input_ids` and `attention_mask` of shape (classes, length), or (classes, templates, length) with
            several templates.

        Raises:
            ValueError: Neither pictures nor names are given; the names are empty, blank or repeated; a prompt is longer
                than the tokenizer's `model_max_length`; or the image processor refuses a picture or label map.
        """
        if images is None and text is None:
            raise ValueError("Nothing to prepare: give `images`, `text` (the class names) or both.")
        if segmentation_maps is not None and images is None:
            raise ValueError("`segmentation_maps` come without their pictures: give `images` too.")
        merged_kwargs = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        text_kwargs, images_kwargs = merged_kwargs["text_kwargs"], merged_kwargs["images_kwargs"]
        return_tensors = text_kwargs.get("return_tensors", images_kwargs.get("return_tensors"))

        data: dict[str, Any] = {}
        if images is not None:
            data.update(self.image_processor(images, segmentation_maps=segmentation_maps, **images_kwargs))
        if text is not None:
            # The legacy copies that `_merge_kwargs` makes are no arguments of a tokenizer.
            tokenizer_kwargs = {
                key: value
                for key, value in text_kwargs.items()
                if key not in ("return_mm_token_type_ids", "return_text_replacement_offsets")
            }
            data.update(tokenize_class_names(self.tokenizer, text, self.prompt_templates, **tokenizer_kwargs))
        return BatchFeature(data, tensor_type=return_tensors)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> list[str]:
        """As in Transformers, with the code that loads it where this package is not installed."""
        try:
            return super().save_pretrained(*args, **kwargs)
        finally:
            # Where the code lies is said by the file: loaded processors have no such attribute, nor shall saved ones.
            self.__dict__.pop("auto_map", None)

    def post_process_semantic_segmentation(self, *args: Any, **kwargs: Any) -> Any:
        """Turns logits into label maps: see the image processor's method of this name, which gets all arguments."""
        return self.image_processor.post_process_semantic_segmentation(*args, **kwargs)


__all__ = ["FGASegProcessor"]
