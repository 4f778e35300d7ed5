# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`Segmenter`: a model by any name, pictures of any kind and words, to segmentations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, overload

import torch
from PIL import Image

from ..conversion.model_loading import LoadedModel, load_model
from ..conversion.named_models import DEFAULT_MODEL
from ..model.label_maps import check_are_numbers
from ..model.sliding_window import SlidingWindows
from ..model.text_encoding import hash_tensors
from ..model.vocabulary import FGASegVocabulary
from .bilinear_sampling import sample_bilinearly
from .devices import choose_device, choose_dtype
from .explanation import Explanation, explain_output
from .overlapped_work import overlap_reading_and_writing
from .picture_features import PictureFeatures
from .picture_sources import PictureSource, is_one_picture, name_of_source, read_picture
from .pixel_decision import decide_pixels
from .segmentation import Segmentation
from .segmenter_options import SegmenterOptions
from .word_encoding import EncodedWords, WordEncoder, Words, vocabulary_of_words
from .word_lists import read_words

# Pictures that go through an accelerator at once; a processor takes no less time for several.
ACCELERATOR_BATCH_SIZE = 8
# Of each of the model's tensors, to tell models apart.
VALUES_HASHED = 1024


class Segmenter:
    """Segments pictures by words: give a picture and words, get a word for every pixel.

    One segmenter may be used by several threads at once; nothing that a call sets outlives it. Words that were encoded
    and the last few pictures that were given one by one are kept, so that new words on the same picture are answered in
    a fraction of the time, by sliding windows and by a compiled model too.

    Args:
        model: A known name ("scenes", the small built-in model, is at home in drawn scenes), a folder, or an id on the
            Hugging Face Hub, of a FGASeg or of a plain CLIP, which segments without training.
        num_kept_classes: Examine only so many words of each picture, the likeliest (TopK); the model's own setting if
            not given.
        device: Where to compute, such as "cpu" or "cuda:0"; an accelerator if there is one.
        dtype: Float type to compute in: "float32", "float16" or "bfloat16"; float32 if not given.
        compile: Whether to compile the model (`torch.compile`): the first pictures take long, the others less.
        **options: See [`SegmenterOptions`]: `templates`, `synonyms`, `groups`, `background`, `threshold`,
            `sliding_window`, `refine`, `batch_size`.

    Raises:
        ValueError: There is no such model, it is broken, or an option does not suit it.

    Example:
        >>> from fgaseg_hf import Segmenter
        >>> segmenter = Segmenter("scenes")
        >>> result = segmenter("street.jpg", ["car", "road", "sky"])
        >>> result["car"].mask
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        num_kept_classes: int | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        compile: bool = False,
        **options: Any,
    ) -> None:
        # What can be wrong without the model is found out before it is loaded.
        checked = SegmenterOptions().changed(options)
        torch_device, torch_dtype = choose_device(device), choose_dtype(dtype)
        overrides: dict[str, Any] = {} if num_kept_classes is None else {"num_kept_classes": num_kept_classes}
        self._start(load_model(model, torch_dtype, **overrides), checked, torch_device, compile)

    @classmethod
    def from_model(cls, model: Any, processor: Any, **options: Any) -> "Segmenter":
        """Makes a segmenter of a model that is in memory, such as one that was just trained, where it is.

        Args:
            model: A `FGASegForSemanticSegmentation`; it is put into evaluation mode.
            processor: Its `FGASegProcessor`.
            **options: See [`SegmenterOptions`].

        Raises:
            ValueError: The model was made by code of an earlier version, which was saved with it.
        """
        if not (hasattr(model, "get_image_features") and hasattr(model.config, "default_threshold")):
            raise ValueError(
                "The model was made by older code that was saved with it: load it with "
                "`FGASegForSemanticSegmentation.from_pretrained`."
            )
        segmenter = cls.__new__(cls)
        loaded = LoadedModel(model.eval(), processor, type(model).__name__, is_plain_clip=False)
        segmenter._start(loaded, SegmenterOptions().changed(options), model.device, compile=False)
        return segmenter

    def _start(self, loaded: LoadedModel, options: SegmenterOptions, device: torch.device, compile: bool) -> None:
        self.name = loaded.source
        self.is_plain_clip = loaded.is_plain_clip
        self.options = options
        self.model = loaded.model.to(device)  # type: ignore[arg-type]
        self.processor = loaded.processor
        self.vocabulary = loaded.model.vocabulary
        self.encoder = WordEncoder(self.model, self.processor)
        self.features = PictureFeatures()
        if self.vocabulary is not None and self.vocabulary.encoding is not None:
            self.encoder.remember(self.vocabulary.encoding)
        self._forward: Any = self.model
        self._compiled_tower: Any = None
        if compile:
            # A program of its own, so that a known picture needs the other alone.
            self._forward, self._compiled_tower = (
                torch.compile(self.model),
                torch.compile(self.model.get_image_features),
            )

    def __repr__(self) -> str:
        device, dtype = self.model.device, str(self.model.dtype).removeprefix("torch.")
        return f"Segmenter({self.name!r}, on {device} in {dtype})"

    @overload
    def __call__(
        self, pictures: PictureSource, words: Words | EncodedWords | None = None, **overrides: Any
    ) -> Segmentation: ...

    @overload
    def __call__(
        self, pictures: Iterable[PictureSource], words: Words | EncodedWords | None = None, **overrides: Any
    ) -> Iterator[Segmentation]: ...

    def __call__(
        self, pictures: Any, words: Words | EncodedWords | None = None, **overrides: Any
    ) -> Segmentation | Iterator[Segmentation]:
        """Segments one picture, or several one after the other.

        Args:
            pictures: A picture: path, `http(s)` address, a file's bytes, Pillow picture or array; or any iterable of
                such, whose pictures are read ahead while others are computed.
            words: What to look for: a list of words, a text with words between commas or in lines, or a
                [`FGASegVocabulary`]; or what [`encode`] made of these. If not given, the vocabulary that was saved with
                the model.
            **overrides: Options for this call alone, see [`SegmenterOptions`].

        Returns:
            A [`Segmentation`], or for several an iterator over one each, in their order.

        Raises:
            ValueError: There are no words, one is blank, repeated or too long; an option is out of range; or a picture
                cannot be read.
        """
        options = self.options.changed(overrides)
        encoded = self.encode(words, options)
        if is_one_picture(pictures):
            named = (name_of_source(pictures), read_picture(pictures))
            return self._segment_batch([named], encoded, options, keep=True)[0]
        if not isinstance(pictures, Iterable):
            # Says what a picture may be.
            read_picture(pictures)
        return self._segment_many(iter(pictures), encoded, options)

    def encode(self, words: Words | EncodedWords | None, options: SegmenterOptions | None = None) -> EncodedWords:
        """Makes words ready; those of earlier calls are known.

        Args:
            words: See [`__call__`]; what is ready stays as it is.
            options: Their templates, synonyms, groups, background and threshold count; the segmenter's if not given.

        Raises:
            ValueError: As in a call.
        """
        if isinstance(words, EncodedWords):
            return words
        options = self.options if options is None else options
        if words is None and not options.groups:
            if self.vocabulary is None:
                raise ValueError(
                    'There are no words to look for: give them, as in segmenter(picture, ["red car", "sky"]).'
                )
            words = self.vocabulary
        if not isinstance(words, FGASegVocabulary):
            words = read_words([] if words is None else words, may_be_empty=bool(options.groups))
        described = vocabulary_of_words(words, options.synonyms, options.groups, options.background, options.threshold)
        return self.encoder.encode(described, options.templates)

    @torch.inference_mode()
    def explain(self, picture: PictureSource, words: Words | None = None, **overrides: Any) -> Explanation:
        """Shows how the model comes to its answer about one picture, seen whole: the maps of each step for each word.

        Args:
            picture: See [`__call__`].
            words: See [`__call__`].
            **overrides: See [`__call__`].

        Raises:
            ValueError: As in a call.
        """
        options = replace(self.options.changed(overrides), sliding_window=False)
        encoded = self.encode(words, options)
        named = (name_of_source(picture), read_picture(picture))
        features = self._features_of(named[1])
        output = self.model(image_features=features, text_embeddings=encoded.text_embeddings)
        logits = encoded.label_logits(output.logits)
        result = self._make_segmentation(named, logits, encoded, options)
        return explain_output(result, encoded.phrases, features, output)

    def describe_model(self) -> dict[str, Any]:
        """What of the model answers depend on, so that a job that goes on later can tell whether it is another."""
        config = self.model.config
        return {
            "weights": hash_tensors(_beginnings(self.model.state_dict())),
            "num_kept_classes": config.num_kept_classes,
            "default_threshold": config.default_threshold,
        }

    def segment_batch(self, pictures: Sequence[Image.Image], words: EncodedWords) -> list[Segmentation]:
        """Segments pictures that were read already, all at once, by this segmenter's own options.

        Args:
            pictures: RGB, of any sizes.
            words: See [`encode`].

        Raises:
            ValueError: The scores are not numbers.
        """
        return self._segment_batch([(name_of_source(picture), picture) for picture in pictures], words, self.options)

    def _segment_many(
        self, sources: Iterator[PictureSource], words: EncodedWords, options: SegmenterOptions
    ) -> Iterator[Segmentation]:
        batch_size = self.batch_size(options)
        batches = overlap_reading_and_writing(
            iter(lambda: list(islice(sources, batch_size)), []),
            read=lambda batch: [(name_of_source(source), read_picture(source)) for source in batch],
            compute=lambda _, pictures: self._segment_batch(pictures, words, options),
            write=lambda _, __, results: results,
        )
        for results in batches:
            yield from results

    def batch_size(self, options: SegmenterOptions | None = None) -> int:
        """How many pictures are computed at once."""
        wanted = (self.options if options is None else options).batch_size
        return wanted or (1 if self.model.device.type == "cpu" else ACCELERATOR_BATCH_SIZE)

    @torch.inference_mode()
    def _segment_batch(
        self,
        pictures: Sequence[tuple[str, Image.Image]],
        words: EncodedWords,
        options: SegmenterOptions,
        keep: bool = False,
    ) -> list[Segmentation]:
        if options.sliding_window:
            return [self._segment_by_windows(named, words, options, keep) for named in pictures]
        if keep:
            ((_, picture),) = pictures
            output = self._forward(image_features=self._features_of(picture), text_embeddings=words.text_embeddings)
        else:
            pixel_values = self._pixel_values([picture for _, picture in pictures])
            output = self._forward(pixel_values=pixel_values, text_embeddings=words.text_embeddings)
        logits = words.label_logits(output.logits)
        return [
            self._make_segmentation(named, scores[None], words, options)
            for named, scores in zip(pictures, logits, strict=True)
        ]

    def _features_of(self, picture: Image.Image) -> Any:
        """What the model sees of a picture, whatever the words: kept for the last few pictures."""
        return self.features.of(picture, "whole", lambda: self._encode_picture(self._pixel_values([picture])))

    def _encode_picture(self, pixel_values: torch.Tensor) -> Any:
        return (self._compiled_tower or self.model.get_image_features)(pixel_values)

    def _pixel_values(self, pictures: Sequence[Image.Image], **settings: Any) -> torch.Tensor:
        inputs = self.processor(images=list(pictures), return_tensors="pt", **settings)
        return inputs["pixel_values"].to(self.model.device, self.model.dtype)

    def _segment_by_windows(
        self, named: tuple[str, Image.Image], words: EncodedWords, options: SegmenterOptions, keep: bool
    ) -> Segmentation:
        if keep:
            # Of all views; on a processor one by one, as without keeping.
            view = f"windows {options.batch_size}"
            windows, features = self.features.of(named[1], view, lambda: self._features_of_windows(named[1], options))
            scores = torch.cat([self._label_logits(words, image_features=part) for part in features])
            check_are_numbers(scores)
        else:
            windows, resized = self._windows_of(named[1], options)
            scores = windows.predict_resized(lambda views: self._label_logits(words, pixel_values=views), resized)
        return self._make_segmentation(named, scores, words, options, windows.probabilities_in_parts)

    def _label_logits(self, words: EncodedWords, **picture: Any) -> torch.Tensor:
        return words.label_logits(self._forward(**picture, text_embeddings=words.text_embeddings).logits)

    def _windows_of(
        self, picture: Image.Image, options: SegmenterOptions
    ) -> tuple[SlidingWindows, Callable[[int], torch.Tensor]]:
        def normalise(pixels: Image.Image) -> torch.Tensor:
            return self._pixel_values([pixels], do_resize=False)

        windows = SlidingWindows.checked(self.model.config.image_size, batch_size=options.batch_size)
        return windows, partial(sample_bilinearly, picture, normalise=normalise)

    def _features_of_windows(self, picture: Image.Image, options: SegmenterOptions) -> tuple[SlidingWindows, list[Any]]:
        """What the model sees of each view of a picture, some views at once."""
        windows, resized = self._windows_of(picture, options)
        views = windows.views_of_resized(resized).split(self.batch_size(options))
        return windows, [self._encode_picture(part) for part in views]

    def _make_segmentation(
        self,
        named: tuple[str, Image.Image],
        scores: torch.Tensor,
        words: EncodedWords,
        options: SegmenterOptions,
        parts_of: Any = None,
    ) -> Segmentation:
        name, picture = named
        threshold = options.threshold
        if threshold is None and words.background_index is None:
            threshold = self.model.config.default_threshold
        decision = decide_pixels(
            scores,
            (picture.height, picture.width),
            parts_of=parts_of,
            background_index=words.background_index,
            threshold=threshold,
            guide=picture if options.refine else None,
        )
        label_map, confidence = decision.label_map.cpu().numpy(), decision.confidence.cpu().numpy()
        return Segmentation(picture, label_map, words.labels, confidence, name)


def _beginnings(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """The first values of each tensor: any training changes them, and hashing all takes longer than a picture."""
    for name, tensor in sorted(weights.items()):
        yield name, tensor.flatten()[:VALUES_HASHED]


__all__ = ["Segmenter"]
