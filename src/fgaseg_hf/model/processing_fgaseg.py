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

DEFAULT_PROMPT_TEMPLATE = "A photo of a {} in the scene"


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """Checks a list of class names and strips the blanks around them.

    Args:
        class_names: One name a class, in the order of the logits. A name may hold several words and commas.

    Returns:
        The names without blanks at their ends.

    Raises:
        ValueError: The list is empty; or a name is not a string, is blank, or stands there twice (letter case and the
            number of blanks make no difference: the tokenizer does not see them).
    """
    if len(class_names) == 0:
        raise ValueError("The list of class names is empty: give at least one name.")
    names: list[str] = []
    number_of: dict[str, int] = {}
    for number, name in enumerate(class_names, start=1):
        if not isinstance(name, str):
            raise ValueError(
                f"Class name {number} is a {type(name).__name__}: give one string a class (of several synonyms, one)."
            )
        words = " ".join(name.split())
        if not words:
            raise ValueError(f"Class name {number} of {len(class_names)} is blank: give it a word or leave it out.")
        first = number_of.setdefault(words.casefold(), number)
        if first != number:
            raise ValueError(f"The class name {name!r} is given twice (numbers {first} and {number}): leave one out.")
        names.append(name.strip())
    return names


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
        if isinstance(templates, str) or len(templates) == 0:
            raise ValueError(f"`prompt_templates` is {templates!r}: give a list with at least one template.")
        for template in templates:
            if not isinstance(template, str) or template.count("{}") != 1:
                raise ValueError(f"The prompt template {template!r} must hold {{}} exactly once, for the class name.")
        self.prompt_templates = list(templates)

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
        # A checkpoint without tokenizer files gets an empty tokenizer, and no error.
        text = towers.text_config
        # 2 is what early checkpoints say; they mean the last token.
        end_of_text = text.vocab_size - 1 if text.eos_token_id == 2 else text.eos_token_id
        if len(tokenizer) > text.vocab_size or tokenizer.eos_token_id != end_of_text:
            raise ValueError(
                f"{clip} has no tokenizer that fits its text tower, which ends texts with token {end_of_text} of "
                f"{text.vocab_size}; save the tokenizer into the same folder."
            )
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
            data.update(self._tokenize(text, text_kwargs))
        return BatchFeature(data, tensor_type=return_tensors)

    def _tokenize(self, text: str | Sequence[str], text_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Turns class names into token ids of shape (classes, length) or (classes, templates, length)."""
        names = check_class_names([text] if isinstance(text, str) else text)
        # `replace`, not `format`: names and templates may hold other braces.
        prompts = [template.replace("{}", name) for name in names for template in self.prompt_templates]
        # The legacy copies that `_merge_kwargs` makes are no arguments of a tokenizer.
        tokenizer_kwargs = {
            key: value
            for key, value in text_kwargs.items()
            if key not in ("return_mm_token_type_ids", "return_text_replacement_offsets")
        }
        if not tokenizer_kwargs.get("truncation"):
            self._check_prompt_lengths(prompts, tokenizer_kwargs.get("add_special_tokens", True))
        num_templates = len(self.prompt_templates)
        if num_templates == 1:
            # A single string stays a single sequence, as tokenizers have it.
            return dict(self.tokenizer(prompts[0] if isinstance(text, str) else prompts, **tokenizer_kwargs))
        encoding = self.tokenizer(prompts, **tokenizer_kwargs)
        grouped: dict[str, Any] = {}
        for key, rows in encoding.items():
            if isinstance(rows, list):
                grouped[key] = [rows[start : start + num_templates] for start in range(0, len(rows), num_templates)]
            else:
                grouped[key] = rows.reshape(len(names), num_templates, -1)
        return grouped

    def _check_prompt_lengths(self, prompts: list[str], add_special_tokens: bool) -> None:
        limit = self.tokenizer.model_max_length
        rows = self.tokenizer(prompts, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
        for prompt, row in zip(prompts, rows, strict=True):
            if len(row) > limit:
                raise ValueError(
                    f"The prompt {prompt!r} has {len(row)} tokens but the text tower takes {limit}: shorten the class "
                    "name."
                )

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
