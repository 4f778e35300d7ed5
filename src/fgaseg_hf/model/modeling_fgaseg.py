# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg: open-vocabulary segmentation by fine-grained pixel-text alignment (arXiv 2501.00877)."""

from typing import Any, cast

import torch
from torch import nn
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .category_decoder import FGASegCategoryDecoder
from .category_supplementation import FGASegLocalPseudoMasks, global_pseudo_masks
from .clip_dense_features import FGASegTextModel, FGASegUpsamplingGuidance, FGASegVisionModel, tokens_to_map
from .clip_initialisation import FGASegInitialisationMixin
from .configuration_fgaseg import FGASegConfig
from .cosine_decoder import decode_cosines
from .hard_classes import decodes_hardest, train_on_hardest
from .losses import check_class_weights, check_labels
from .model_inputs import (
    check_image_features,
    check_pictures,
    check_words,
    classes_of_each_picture,
    needed_hidden_states,
    wanted_hidden_states,
    whole_labels,
)
from .model_outputs import FGASegImageFeatures, FGASegModelOutput, FGASegOutput
from .patch_affinity import patch_affinity, smooth_by_affinity
from .pixel_text_alignment import FGASegAlignmentHead, FGASegP2Tformer
from .pretrained_model import FGASegPreTrainedModel
from .training_loss import training_losses
from .vocabulary_head import FGASegVocabularyMixin
from .windowed_segmentation import FGASegWindowsMixin


class FGASegModel(FGASegPreTrainedModel):
    """Steps 1 to 4: CLIP kept dense, pixel-text alignment, and the pseudo-masks, without a decoder.

    CLIP's modules have the names that they have in [`CLIPModel`], so any CLIP checkpoint fits.
    """

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__(config)
        self.text_model = FGASegTextModel._from_config(config.text_config)
        self.vision_model = FGASegVisionModel._from_config(
            config.vision_config,
            dense_attention=config.dense_attention,
            dense_residual=config.dense_residual,
            neighbour_std=config.neighbour_std,
        )
        self.visual_projection = nn.Linear(config.vision_config.hidden_size, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(config.text_config.hidden_size, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.upsampling_guidance = FGASegUpsamplingGuidance(config) if config.decoder_type == "category" else None
        self.p2tformer = FGASegP2Tformer(config) if config.p2tformer_num_layers else None
        self.local_pseudo_masks = FGASegLocalPseudoMasks(config) if config.use_local_pseudo_masks else None
        self.post_init()
        self.freeze_parameters()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            # CLIP's own start, over that of other linear layers.
            factor = self.config.initializer_factor
            init.normal_(self.visual_projection.weight, std=self.config.vision_config.hidden_size**-0.5 * factor)
            init.normal_(self.text_projection.weight, std=self.config.text_config.hidden_size**-0.5 * factor)
            init.constant_(self.logit_scale, self.config.logit_scale_init_value)

    def get_text_embeddings(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes class prompts.

        Args:
            input_ids: (classes, length), or (classes, templates, length): a class's templates are averaged.
            attention_mask: The same shape, as tokenizers give it; not looked at, which would have a GPU waited for: the
                text tower looks backwards, and padding stands last.

        Returns:
            Embeddings of unit length, (classes, dim).

        Raises:
            ValueError: If `input_ids` has another number of axes, or no class.
        """
        if input_ids.dim() not in (2, 3) or input_ids.shape[0] == 0:
            raise ValueError(
                f"`input_ids` has shape {tuple(input_ids.shape)}; give one row of token ids a class, "
                "(classes, length) or (classes, templates, length)."
            )
        pooled = self.text_model(input_ids=input_ids.reshape(-1, input_ids.shape[-1])).pooler_output
        embeddings = nn.functional.normalize(self.text_projection(pooled), dim=-1)
        if input_ids.dim() == 3:
            embeddings = nn.functional.normalize(embeddings.unflatten(0, input_ids.shape[:2]).mean(dim=1), dim=-1)
        return embeddings

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> FGASegImageFeatures:
        r"""
        Encodes pictures once, to be given to [`forward`] as `image_features` for as many sets of words as one likes.

        Args:
            pixel_values: (batch, 3, image_height, image_width), multiples of the patch size.
            **kwargs: `output_hidden_states` and `output_attentions`, of the image tower.

        Returns:
            All that does not depend on words. From it, [`forward`] gives to the bit what it gives from the pictures.

        Raises:
            ValueError: If the pictures are missing, or of another shape.
        """
        pixel_values = check_pictures(pixel_values, self.config)
        patch_size = self.config.vision_config.patch_size
        grid = (pixel_values.shape[-2] // patch_size, pixel_values.shape[-1] // patch_size)
        wanted = wanted_hidden_states(kwargs.pop("output_hidden_states", None), self.config)
        vision = self.vision_model(
            pixel_values,
            interpolate_pos_encoding=True,
            output_hidden_states=sorted(wanted | needed_hidden_states(self.config)),
            patch_grid=grid,
            return_dict=True,
            **kwargs,
        )
        patches = self.visual_projection(self.vision_model.post_layernorm(vision.last_hidden_state[:, 1:]))
        upsampling_guidance = affinity = None
        if self.upsampling_guidance is not None:
            coarse, fine = (vision.hidden_states[layer] for layer in self.config.guidance_layers)
            upsampling_guidance = self.upsampling_guidance((coarse, fine), grid)
        if self.config.affinity_layer is not None:
            patches_before = vision.hidden_states[self.config.affinity_layer][:, 1:]
            affinity = patch_affinity(patches_before, self.config.affinity_temperature)
        hidden_states: Any = tuple(
            states if index in wanted else None for index, states in enumerate(vision.hidden_states or ())
        )
        return FGASegImageFeatures(
            last_hidden_state=vision.last_hidden_state,
            patch_features=tokens_to_map(patches, grid),
            upsampling_guidance=upsampling_guidance,
            patch_affinity=affinity,
            hidden_states=hidden_states if wanted else None,
            attentions=vision.attentions,
        )

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeddings: torch.Tensor | None = None,
        class_indices: torch.Tensor | None = None,
        image_features: FGASegImageFeatures | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> FGASegModelOutput:
        r"""
        Args:
            pixel_values: (batch, 3, image_height, image_width), multiples of the patch size.
            input_ids: Class prompts (names, length) or (names, templates, length), shared by the batch.
            attention_mask: In the shape of `input_ids`.
            text_embeddings: Instead of `input_ids`: (names, dim), or (batch, classes, dim) of each
                picture's own classes.
            class_indices: (batch, classes): which of the names are each picture's classes; all of them, if not given.
            image_features: Instead of `pixel_values`: what [`get_image_features`] gave for the pictures.
            **kwargs: `output_hidden_states` and `output_attentions`, of the image tower.

        Raises:
            ValueError: If a needed input is missing, or shapes do not fit.
        """
        # step 1: the picture, kept dense
        check_words(input_ids, text_embeddings, self.config)
        if image_features is None:
            image_features = self.get_image_features(pixel_values, return_dict=True, **kwargs)
        elif pixel_values is not None:
            raise ValueError("Give the pictures either as `pixel_values` or as `image_features`, one of both.")
        patch_features = check_image_features(image_features, self.config)

        # step 2: the words
        if text_embeddings is None:
            text_embeddings = self.get_text_embeddings(cast(torch.Tensor, input_ids), attention_mask)
        text_embeddings = classes_of_each_picture(
            text_embeddings.to(patch_features.dtype), class_indices, patch_features.shape[0]
        )

        # step 3: align words with patches
        aligned_text_embeddings = text_embeddings
        if self.p2tformer is not None:
            aligned_text_embeddings, patch_features = self.p2tformer(text_embeddings, patch_features)

        # step 4: their similarities
        similarities = global_pseudo_masks(aligned_text_embeddings, patch_features)
        if image_features.patch_affinity is not None:
            similarities = smooth_by_affinity(similarities, image_features.patch_affinity)
        local = None
        if self.local_pseudo_masks is not None:
            local = self.local_pseudo_masks(aligned_text_embeddings, patch_features, similarities)
        return FGASegModelOutput(
            patch_features=patch_features,
            text_embeddings=text_embeddings,
            aligned_text_embeddings=aligned_text_embeddings,
            global_pseudo_masks=similarities,
            local_pseudo_masks=local,
            upsampling_guidance=image_features.upsampling_guidance,
            hidden_states=image_features.hidden_states,
            attentions=image_features.attentions,
        )


class FGASegForSemanticSegmentation(
    FGASegInitialisationMixin, FGASegVocabularyMixin, FGASegWindowsMixin, FGASegPreTrainedModel
):
    """FGASeg with its category-aware decoder: labels every pixel of a picture with words of the user's choice."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__(config)
        self.fgaseg = FGASegModel(config)
        self.decoder = FGASegCategoryDecoder(config) if config.decoder_type == "category" else None
        self.alignment_head = FGASegAlignmentHead(config) if config.use_alignment_head else None
        self.vocabulary_head = None
        self.post_init()
        self.freeze_parameters()

    def get_text_embeddings(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes class prompts once, to be given to [`forward`] as `text_embeddings`. See [`FGASegModel`]."""
        return self.fgaseg.get_text_embeddings(input_ids, attention_mask)

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> FGASegImageFeatures:
        r"""Encodes pictures once, to be given to [`forward`] as `image_features`. See [`FGASegModel`]."""
        return self.fgaseg.get_image_features(pixel_values, return_dict=True, **kwargs)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeddings: torch.Tensor | None = None,
        class_indices: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        class_weights: torch.Tensor | None = None,
        image_features: FGASegImageFeatures | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> FGASegOutput:
        r"""
        Args:
            pixel_values: (batch, 3, image_height, image_width), multiples of the patch size.
            input_ids: Class prompts (names, length) or (names, templates, length), shared by the batch. Without these
                and `text_embeddings`, the model's own words are asked for, one map a label: the classes that it knows
                (`id2label`), or the vocabulary that was set.
            attention_mask: In the shape of `input_ids`.
            text_embeddings: Instead of `input_ids`: (names, dim), or (batch, classes, dim) of each
                picture's own classes.
            class_indices: (batch, classes): which of the names are each picture's classes; all of them, if not given.
            labels: (batch, any height, any width), integer places among the picture's classes;
                `config.semantic_loss_ignore_index` where no class is known. With labels, the losses are computed.
            class_weights: (classes,) or (batch, classes): what a pixel labelled with each class counts in the losses,
                for classes of very different size; 1 each, if not given.
            image_features: Instead of `pixel_values`: what [`get_image_features`] gave for the pictures.
            **kwargs: `output_hidden_states` and `output_attentions`, of the image tower.

        Raises:
            ValueError: If a needed input is missing, shapes do not fit, or a label is no class.
        """
        if self.vocabulary_head is not None and input_ids is None and text_embeddings is None:
            return self._segment_with_vocabulary(
                self.vocabulary_head,
                pixel_values,
                class_indices,
                labels,
                class_weights,
                image_features=image_features,
                **kwargs,
            )

        if labels is not None and decodes_hardest(self, input_ids, text_embeddings, class_indices):
            return train_on_hardest(
                self,
                pixel_values,
                input_ids,
                text_embeddings,
                class_indices,
                labels,
                class_weights,
                image_features,
                **kwargs,
            )

        # steps 1 to 4: dense features, words, alignment, pseudo-masks
        features = self.fgaseg(
            pixel_values,
            input_ids,
            attention_mask,
            text_embeddings,
            class_indices,
            image_features,
            return_dict=True,
            **kwargs,
        )
        if labels is not None:
            batch_size, num_classes = features.global_pseudo_masks.shape[:2]
            labels = whole_labels(labels)
            check_labels(labels, batch_size, num_classes, self.config.semantic_loss_ignore_index)
            if class_weights is not None:
                check_class_weights(class_weights, batch_size, num_classes)

        # step 5: decode
        if self.decoder is None:
            num_kept_classes = None if self.training else self.config.num_kept_classes
            decoded = decode_cosines(features.global_pseudo_masks, self.fgaseg.logit_scale, num_kept_classes)
        else:
            decoded = self.decoder(
                features.global_pseudo_masks,
                features.local_pseudo_masks,
                features.aligned_text_embeddings,
                features.patch_features,
                features.upsampling_guidance,
            )
        auxiliary_logits = decoded.auxiliary_logits or None

        # step 6: losses
        alignment_logits, losses = None, {}
        if labels is not None:
            if self.alignment_head is not None:
                alignment_logits = self.alignment_head(features.aligned_text_embeddings, features.patch_features)
            losses = training_losses(
                decoded.logits, auxiliary_logits, alignment_logits, labels, self.config, class_weights
            )
        return FGASegOutput(
            **losses,
            logits=decoded.logits,
            alignment_logits=alignment_logits,
            auxiliary_logits=auxiliary_logits,
            kept_classes=decoded.kept_classes,
            **features,
        )


__all__ = [
    "FGASegForSemanticSegmentation",
    "FGASegModel",
    "FGASegModelOutput",
    "FGASegOutput",
    "FGASegPreTrainedModel",
]
