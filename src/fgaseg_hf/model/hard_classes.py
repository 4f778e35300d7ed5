# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training with many names at the price of few: all are scored by the first map, the hardest of them are decoded.

That is what TopK does at inference. A picture's own names are decoded, and beside them those that auxiliary map 0 finds
most in the picture; the map itself is trained on all of them. What a name that is not decoded says to the map, it says
as a constant: the text tower learns from the decoded names alone, so only these go through it with their activations
kept. Each picture's names are chosen by that picture, and are of the same number: so parts of a batch, on processes or
one after another, add up to the whole.
"""

from typing import Any

import torch

from .category_decoder import FGASegDecoderOutput
from .class_selection import ClassSelection, gather_classes
from .configuration_fgaseg import FGASegConfig
from .losses import check_class_weights, check_labels
from .model_inputs import check_image_features, check_words, classes_of_each_picture, whole_labels
from .model_outputs import FGASegImageFeatures, FGASegOutput
from .text_encoding import text_tower_parameters
from .training_loss import training_losses


def decodes_hardest(
    model: Any,
    input_ids: torch.Tensor | None,
    text_embeddings: torch.Tensor | None,
    class_indices: torch.Tensor | None,
) -> bool:
    """Whether a step with labels decodes some of its classes alone.

    For the arguments see [`FGASegForSemanticSegmentation.forward`].

    Raises:
        ValueError: If classes would be dropped before they are scored, or the label of ignored pixels is a class.
    """
    config: FGASegConfig = model.config
    if not model.training or config.num_decoded_classes is None:
        return False
    check_words(input_ids, text_embeddings, config)
    num_classes = count_classes(input_ids, text_embeddings, class_indices)
    if num_classes <= config.num_decoded_classes:
        return False
    if config.class_limit is not None and num_classes > config.class_limit:
        raise ValueError(
            f"`num_decoded_classes` scores every name, but `class_limit` {config.class_limit} drops some of the "
            f"{num_classes}: set it to None."
        )
    if 0 <= config.semantic_loss_ignore_index < num_classes:
        raise ValueError(
            f"With {num_classes} names the label {config.semantic_loss_ignore_index} cannot mean 'ignored'; set "
            "`semantic_loss_ignore_index` to -100."
        )
    return True


def count_classes(
    input_ids: torch.Tensor | None, text_embeddings: torch.Tensor | None, class_indices: torch.Tensor | None
) -> int:
    """How many classes each picture is asked for."""
    if class_indices is not None:
        return class_indices.shape[-1]
    if text_embeddings is not None:
        return text_embeddings.shape[-2]
    return 0 if input_ids is None else input_ids.shape[0]


def train_on_hardest(
    model: Any,
    pixel_values: torch.Tensor | None,
    input_ids: torch.Tensor | None,
    text_embeddings: torch.Tensor | None,
    class_indices: torch.Tensor | None,
    labels: torch.Tensor,
    class_weights: torch.Tensor | None,
    image_features: FGASegImageFeatures | None,
    **kwargs: Any,
) -> FGASegOutput:
    """The forward of a training step that decodes each picture's hardest names.

    For the arguments see [`FGASegForSemanticSegmentation.forward`].

    Returns:
        As of any forward. Auxiliary map 0 is of all classes; in the other maps, classes that were not decoded stand at
        the most negative finite score, and `alignment_logits` are of the decoded classes (`kept_classes`) alone.

    Raises:
        ValueError: As there.
    """
    # The picture.
    if image_features is None:
        image_features, pixel_values = model.get_image_features(pixel_values, return_dict=True, **kwargs), None
    batch_size = check_image_features(image_features, model.config).shape[0]
    num_classes = count_classes(input_ids, text_embeddings, class_indices)
    labels = whole_labels(labels)
    check_labels(labels, batch_size, num_classes, model.config.semantic_loss_ignore_index)
    if class_weights is not None:
        check_class_weights(class_weights, batch_size, num_classes)

    # Which of all names it decodes.
    with torch.no_grad():
        words = model.get_text_embeddings(input_ids) if text_embeddings is None else text_embeddings
        features = model.fgaseg(pixel_values, None, None, words, class_indices, image_features, return_dict=True)
        scores = first_scores(model, features)
        kept = hardest_classes(scores, labels, model.config)
    # What autocast has cast of the weights without gradients would be taken for their gradients' way, too.
    torch.clear_autocast_cache()

    # The words of these with gradients, all others as constants.
    learning = _learning_words(model, input_ids, text_embeddings, class_indices, kept, words)
    constant = features.text_embeddings
    index = kept.unsqueeze(-1).expand(-1, -1, constant.shape[-1])
    features = model.fgaseg(
        text_embeddings=constant.scatter(1, index, learning.to(constant.dtype)),
        image_features=image_features,
        return_dict=True,
    )

    # Score all of them, decode some, and train both.
    decoded = decode_classes(model, features, kept)
    selection = ClassSelection(kept, None, num_classes)
    later_maps = (selection.scatter(maps) for maps in decoded.auxiliary_logits[1:])
    logits, auxiliary_logits = selection.scatter(decoded.logits), (first_scores(model, features), *later_maps)
    alignment_logits = None
    if model.alignment_head is not None:
        words_of_kept = gather_classes(features.aligned_text_embeddings, kept)
        alignment_logits = model.alignment_head(words_of_kept, features.patch_features)
    return FGASegOutput(
        **training_losses(logits, auxiliary_logits, alignment_logits, labels, model.config, class_weights, kept),
        logits=logits,
        alignment_logits=alignment_logits,
        auxiliary_logits=auxiliary_logits,
        kept_classes=kept,
        **features,
    )


def first_scores(model: Any, features: Any) -> torch.Tensor:
    """Auxiliary map 0 of all classes, (batch, classes, height, width); `features`: a [`FGASegModelOutput`]."""
    scores = model.decoder.first_scores(features.global_pseudo_masks, features.local_pseudo_masks)
    assert scores is not None  # the configuration refuses to rank without auxiliary heads
    return scores


def decode_classes(model: Any, features: Any, kept: torch.Tensor) -> FGASegDecoderOutput:
    """What the decoder makes of some classes of each picture.

    Args:
        model: With a decoder.
        features: The [`FGASegModelOutput`] of all classes.
        kept: (batch, kept), the places of some.
    """
    local_masks = features.local_pseudo_masks
    return model.decoder(
        gather_classes(features.global_pseudo_masks, kept),
        None if local_masks is None else gather_classes(local_masks, kept),
        gather_classes(features.aligned_text_embeddings, kept),
        features.patch_features,
        features.upsampling_guidance,
    )


def hardest_classes(scores: torch.Tensor, labels: torch.Tensor, config: FGASegConfig) -> torch.Tensor:
    """A picture's own classes, and the others whose maps peak highest, `config.num_decoded_classes` in all.

    Of more of its own than that, those with the most pixels are taken; the pixels of the others are then of none of the
    decoded classes, which is what the losses are told of them.

    Args:
        scores: (batch, classes, height, width), auxiliary map 0.
        labels: (batch, any height, any width), places among the classes, or the label of ignored pixels.
        config: The model's configuration.

    Returns:
        Places (batch, `num_decoded_classes`), rising.
    """
    batch_size, num_classes = scores.shape[:2]
    places = labels.flatten(1)
    places = places.masked_fill(places == config.semantic_loss_ignore_index, num_classes)
    num_pixels = places.new_zeros(batch_size, num_classes + 1).scatter_add(1, places, torch.ones_like(places))
    # whole numbers: by pixels, and by the rank of the peak where there are as many, or none
    ranks = scores.float().flatten(2).amax(dim=-1).argsort(dim=1, stable=True).argsort(dim=1)
    order = num_pixels[:, :num_classes] * num_classes + ranks
    return order.topk(int(config.num_decoded_classes or num_classes), dim=1).indices.sort(dim=1).values


def _learning_words(
    model: Any,
    input_ids: torch.Tensor | None,
    text_embeddings: torch.Tensor | None,
    class_indices: torch.Tensor | None,
    kept: torch.Tensor,
    words: torch.Tensor,
) -> torch.Tensor:
    """Embeddings of each picture's decoded names, with gradients: (batch, kept, dim).

    Each name goes through the text tower once, however many pictures decode it.

    Args:
        model: The model.
        input_ids: Prompts of all names, if these are given.
        text_embeddings: Or embeddings of all names.
        class_indices: Which of the names are each picture's classes.
        kept: (batch, kept), places among each picture's classes.
        words: Embeddings of all names without gradients.
    """
    if text_embeddings is not None:
        return gather_classes(classes_of_each_picture(text_embeddings, class_indices, len(kept)), kept)
    names = kept if class_indices is None else class_indices.gather(1, kept)
    if not any(weight.requires_grad for weight in text_tower_parameters(model)):
        return words[names]
    assert input_ids is not None
    rows, places = names.unique(return_inverse=True)
    return model.get_text_embeddings(input_ids[rows])[places]
