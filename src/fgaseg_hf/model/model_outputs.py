# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What the models return."""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput


@dataclass
class FGASegImageFeatures(BaseModelOutputWithPooling):
    """What does not depend on words: a picture encoded once, which words are then asked of.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch, 1 + patches, width)`):
            The image tower's last state, class token first; not needed to go on.
        pooler_output (*optional*):
            Nothing: a tower that is kept dense has no feature of the whole picture.
        hidden_states (`tuple` of `torch.Tensor`, *optional*):
            Hidden states of the image tower, as asked for; `None` where not asked for.
        attentions (`tuple` of `torch.Tensor`, *optional*):
            Attention maps of the image tower; its last block has none.
        patch_features (`torch.Tensor` of shape `(batch, dim, height, width)`):
            Dense CLIP features of the patches, projected, not normalised; words have not moved them yet.
        upsampling_guidance (`tuple` of two `torch.Tensor`, *optional*):
            Guidance maps at 2 x and 4 x the patch grid, for the category-aware decoder.
        patch_affinity (`torch.Tensor` of shape `(batch, patches, patches)`, *optional*):
            How alike the patches are, if `config.affinity_layer` says so.
    """

    patch_features: torch.Tensor | None = None
    upsampling_guidance: tuple[torch.Tensor, ...] | None = None
    patch_affinity: torch.Tensor | None = None


@dataclass
class FGASegModelOutput(ModelOutput):
    """What [`FGASegModel`] computes: pictures and words in one space, and their similarities.

    Args:
        patch_features (`torch.Tensor` of shape `(batch, dim, height, width)`):
            Dense CLIP features of the patches, projected, not normalised.
        text_embeddings (`torch.Tensor` of shape `(batch, classes, dim)`):
            The words as they entered, of unit length.
        aligned_text_embeddings (`torch.Tensor` of shape `(batch, classes, dim)`):
            The words moved towards each picture by the P2Tformer.
        global_pseudo_masks (`torch.Tensor` of shape `(batch, classes, height, width)`):
            Cosine similarity of words and patches; smoothed, if `config.affinity_layer` says so.
        local_pseudo_masks (`torch.Tensor` of shape `(batch, classes, height, width)`, *optional*):
            Similarity of words and neighbourhoods; classes that the class limit drops stand at the most negative
            finite score.
        upsampling_guidance (`tuple` of two `torch.Tensor`, *optional*):
            Guidance maps at 2 x and 4 x the patch grid, for the category-aware decoder.
        hidden_states (`tuple` of `torch.Tensor`, *optional*):
            Hidden states of the image tower, as asked for; `None` where not asked for.
        attentions (`tuple` of `torch.Tensor`, *optional*):
            Attention maps of the image tower; its last block has none.
    """

    patch_features: torch.Tensor | None = None
    text_embeddings: torch.Tensor | None = None
    aligned_text_embeddings: torch.Tensor | None = None
    global_pseudo_masks: torch.Tensor | None = None
    local_pseudo_masks: torch.Tensor | None = None
    upsampling_guidance: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor | None, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class FGASegOutput(ModelOutput):
    """What [`FGASegForSemanticSegmentation`] computes: the loss first and then the logits, as in all of Transformers.

    Args:
        loss (`torch.Tensor`, *optional*):
            The weighted sum of the losses below, if labels were given.
        logits (`torch.Tensor` of shape `(batch, classes, 4 height, 4 width)`):
            One logit a class and position; classes that were not kept stand at the most negative finite score. With
            `config.decoder_type` `"cosine"` at the patch grid itself, (batch, classes, height, width).
        segmentation_loss (`torch.Tensor`, *optional*):
            The decoder's loss, before weighting.
        alignment_loss (`torch.Tensor`, *optional*):
            The alignment head's, before weighting.
        auxiliary_losses (`tuple` of `torch.Tensor`, *optional*):
            The auxiliary heads', before weighting.
        alignment_logits (`torch.Tensor` of shape `(batch, classes, 4 height, 4 width)`, *optional*):
            The alignment head's, if labels were given.
        auxiliary_logits (`tuple` of three `torch.Tensor`, *optional*):
            The auxiliary heads', at 1 x, 1 x and 2 x the patch grid.
        kept_classes (`torch.Tensor` of shape `(batch, kept)`):
            Which classes went through the whole decoder.
        patch_features, text_embeddings, aligned_text_embeddings: See [`FGASegModelOutput`].
        global_pseudo_masks, local_pseudo_masks, upsampling_guidance: See [`FGASegModelOutput`].
        hidden_states, attentions: See [`FGASegModelOutput`].
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    segmentation_loss: torch.Tensor | None = None
    alignment_loss: torch.Tensor | None = None
    auxiliary_losses: tuple[torch.Tensor, ...] | None = None
    alignment_logits: torch.Tensor | None = None
    auxiliary_logits: tuple[torch.Tensor, ...] | None = None
    kept_classes: torch.Tensor | None = None
    patch_features: torch.Tensor | None = None
    text_embeddings: torch.Tensor | None = None
    aligned_text_embeddings: torch.Tensor | None = None
    global_pseudo_masks: torch.Tensor | None = None
    local_pseudo_masks: torch.Tensor | None = None
    upsampling_guidance: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor | None, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


__all__ = ["FGASegImageFeatures", "FGASegModelOutput", "FGASegOutput"]
