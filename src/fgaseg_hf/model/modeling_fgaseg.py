# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg: open-vocabulary segmentation by fine-grained pixel-text alignment (arXiv 2501.00877)."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, logging
from transformers.utils.generic import can_return_tuple

from .category_decoder import FGASegCategoryDecoder
from .category_supplementation import FGASegLocalPseudoMasks, global_pseudo_masks
from .catseg_initialisation import ADDED_BLOCKS, check_continuation, start_neutral
from .clip_dense_features import (
    FGASegTextModel,
    FGASegUpsamplingGuidance,
    FGASegVisionModel,
    default_image_size,
    is_trainable_parameter,
    tokens_to_map,
)
from .configuration_fgaseg import FGASegConfig, read_clip_config
from .cosine_decoder import decode_cosines
from .cost_aggregation import FGASegClassAggregation
from .losses import alignment_loss, check_class_weights, check_labels, segmentation_loss
from .model_outputs import FGASegModelOutput, FGASegOutput
from .patch_affinity import patch_affinity, smooth_by_affinity
from .pixel_text_alignment import FGASegAlignmentHead, FGASegP2Tformer
from .sliding_window import predict_with_sliding_window
from .vocabulary_head import FGASegVocabularyMixin

logger = logging.get_logger(__name__)


class FGASegPreTrainedModel(PreTrainedModel):
    """Weights, their initialisation, and what of them trains."""

    config: FGASegConfig
    base_model_prefix = "fgaseg"
    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["FGASegDenseEncoderLayer", "FGASegAggregationLayer", "FGASegUpsamplingStage"]
    _supports_sdpa = True
    _supports_attention_backend = True
    # forward's extra keyword arguments are the towers', not the loss's: Trainer must not rescale the loss.
    accepts_loss_kwargs = False

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no: see below."""
        # Transformers skips modules without own parameters when it initialises "custom code".
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if module.weight is not None:
                # PyTorch's own start, as in the released code: uniform within 1 / sqrt(fan in).
                init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                fan_in = module.weight[0].numel()
                init.uniform_(module.bias, -(fan_in**-0.5), fan_in**-0.5)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            if isinstance(module, nn.BatchNorm2d):
                init.zeros_(cast(torch.Tensor, module.running_mean))
                init.ones_(cast(torch.Tensor, module.running_var))
                init.zeros_(cast(torch.Tensor, module.num_batches_tracked))
        elif isinstance(module, FGASegP2Tformer):
            init.constant_(module.text_scale, self.config.p2tformer_scale_init)
            if module.is_dual:
                init.constant_(module.patch_scale, self.config.p2tformer_scale_init)
        elif isinstance(module, FGASegClassAggregation) and self.config.class_padding:
            init.zeros_(module.padding_token)
            init.zeros_(module.padding_guidance)
        elif isinstance(module, FGASegModel):
            factor = self.config.initializer_factor
            init.normal_(module.visual_projection.weight, std=self.config.vision_config.hidden_size**-0.5 * factor)
            init.normal_(module.text_projection.weight, std=self.config.text_config.hidden_size**-0.5 * factor)
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in Transformers; what `config.trainable_clip` freezes is frozen again after loading."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.freeze_parameters()
        return loaded

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in Transformers, with the code that loads it where this package is not installed."""
        if self.is_remote_code():
            # Transformers would name the saved class alone; each of them loads from any of these checkpoints.
            self.config.auto_map = {
                **(getattr(self.config, "auto_map", None) or {}),
                "AutoConfig": "configuration_fgaseg.FGASegConfig",
                "AutoModel": "modeling_fgaseg.FGASegModel",
                "AutoModelForSemanticSegmentation": "modeling_fgaseg.FGASegForSemanticSegmentation",
            }
            # Imported here, since the model does not need it; but an import it must be, for its code to be saved too.
            from .pipeline_fgaseg import ZeroShotImageSegmentationPipeline

            self.config.custom_pipelines = {
                "zero-shot-image-segmentation": {
                    "impl": f"pipeline_fgaseg.{ZeroShotImageSegmentationPipeline.__name__}",
                    "pt": ["AutoModelForSemanticSegmentation"],
                    "type": "multimodal",
                }
            }
        try:
            super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            self.config.__dict__.pop("custom_pipelines", None)

    def set_trainable_clip(self, mode: Literal["query_value", "all", "none"]) -> None:
        """Chooses which weights of CLIP train, and keeps the choice in the configuration.

        Args:
            mode: `"query_value"`, `"all"` or `"none"`.

        Raises:
            ValueError: If there is no such mode.
        """
        if mode not in ("query_value", "all", "none"):
            raise ValueError(f"There is no `trainable_clip` mode {mode!r}; choose 'query_value', 'all' or 'none'.")
        self.config.trainable_clip = mode
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Lets exactly those parameters train that `config.trainable_clip` names."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(is_trainable_parameter(name, self.config) and parameter.is_floating_point())

    def trainable_parameter_names(self) -> list[str]:
        """Names of the parameters that train."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]


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

    def get_input_embeddings(self) -> nn.Module:
        """The text tower's token table."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text tower's token table."""
        self.text_model.set_input_embeddings(value)

    def get_text_embeddings(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes class prompts.

        Args:
            input_ids: (classes, length), or (classes, templates, length): a class's templates are averaged.
            attention_mask: The same shape; not needed, since the text tower looks backwards only and padding stands
            last.

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
        length = input_ids.shape[-1]
        mask = None if attention_mask is None else attention_mask.reshape(-1, length)
        pooled = self.text_model(input_ids=input_ids.reshape(-1, length), attention_mask=mask).pooler_output
        embeddings = nn.functional.normalize(self.text_projection(pooled), dim=-1)
        if input_ids.dim() == 3:
            embeddings = nn.functional.normalize(embeddings.unflatten(0, input_ids.shape[:2]).mean(dim=1), dim=-1)
        return embeddings

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeddings: torch.Tensor | None = None,
        class_indices: torch.Tensor | None = None,
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
            **kwargs: `output_hidden_states` and `output_attentions`, of the image tower.

        Raises:
            ValueError: If a needed input is missing, or shapes do not fit.
        """
        pixel_values = self._check_inputs(pixel_values, input_ids, text_embeddings)

        # step 1: the picture, kept dense
        patch_size = self.config.vision_config.patch_size
        grid = (pixel_values.shape[-2] // patch_size, pixel_values.shape[-1] // patch_size)
        wanted = self._wanted_hidden_states(kwargs.pop("output_hidden_states", None))
        vision = self.vision_model(
            pixel_values,
            interpolate_pos_encoding=True,
            output_hidden_states=sorted(wanted | self._needed_hidden_states()),
            patch_grid=grid,
            **kwargs,
        )
        patches = self.visual_projection(self.vision_model.post_layernorm(vision.last_hidden_state[:, 1:]))
        patch_features = tokens_to_map(patches, grid)
        upsampling_guidance = None
        if self.upsampling_guidance is not None:
            coarse, fine = (vision.hidden_states[layer] for layer in self.config.guidance_layers)
            upsampling_guidance = self.upsampling_guidance((coarse, fine), grid)

        # step 2: the words
        if text_embeddings is None:
            text_embeddings = self.get_text_embeddings(cast(torch.Tensor, input_ids), attention_mask)
        text_embeddings = self._classes_of_each_picture(
            text_embeddings.to(patches.dtype), class_indices, patches.shape[0]
        )

        # step 3: align words with patches
        aligned_text_embeddings = text_embeddings
        if self.p2tformer is not None:
            aligned_text_embeddings, patch_features = self.p2tformer(text_embeddings, patch_features)

        # step 4: their similarities
        similarities = global_pseudo_masks(aligned_text_embeddings, patch_features)
        if self.config.affinity_layer is not None:
            patches_before = vision.hidden_states[self.config.affinity_layer][:, 1:]
            affinity = patch_affinity(patches_before, self.config.affinity_temperature)
            similarities = smooth_by_affinity(similarities, affinity)
        local = None
        if self.local_pseudo_masks is not None:
            local = self.local_pseudo_masks(aligned_text_embeddings, patch_features, similarities)
        return FGASegModelOutput(
            patch_features=patch_features,
            text_embeddings=text_embeddings,
            aligned_text_embeddings=aligned_text_embeddings,
            global_pseudo_masks=similarities,
            local_pseudo_masks=local,
            upsampling_guidance=upsampling_guidance,
            hidden_states=tuple(
                states if index in wanted else None for index, states in enumerate(vision.hidden_states)
            )
            if wanted
            else None,
            attentions=vision.attentions,
        )

    def _check_inputs(
        self, pixel_values: torch.Tensor | None, input_ids: torch.Tensor | None, text_embeddings: torch.Tensor | None
    ) -> torch.Tensor:
        """Refuses inputs that do not fit; returns the pictures, which are there."""
        if pixel_values is None:
            raise ValueError("`pixel_values` is missing; give pictures (batch, 3, height, width).")
        if (input_ids is None) == (text_embeddings is None):
            raise ValueError("Give the class names either as `input_ids` or as `text_embeddings`, one of both.")
        patch_size = self.config.vision_config.patch_size
        if pixel_values.dim() != 4 or any(side % patch_size or side == 0 for side in pixel_values.shape[-2:]):
            raise ValueError(
                f"`pixel_values` has shape {tuple(pixel_values.shape)}; give (batch, 3, height, width) with sides "
                f"that are multiples of the patch size {patch_size}."
            )
        dim = self.config.projection_dim
        if text_embeddings is not None and (
            text_embeddings.dim() not in (2, 3) or text_embeddings.shape[-1] != dim or text_embeddings.shape[-2] == 0
        ):
            raise ValueError(
                f"`text_embeddings` has shape {tuple(text_embeddings.shape)}; give (classes, {dim}) or "
                f"(batch, classes, {dim}) with at least one class."
            )
        return pixel_values

    def _wanted_hidden_states(self, requested: bool | int | Iterable[int] | None) -> set[int]:
        """Which hidden states the caller asked for, as places from the start."""
        count = self.config.vision_config.num_hidden_layers + 1
        if requested is None:
            requested = self.config.output_hidden_states
        if requested is None or isinstance(requested, bool):
            return set(range(count)) if requested else set()
        return {layer % count for layer in ([requested] if isinstance(requested, int) else requested)}

    def _needed_hidden_states(self) -> set[int]:
        """Which hidden states the steps themselves take, as places from the start."""
        needed = set() if self.upsampling_guidance is None else set(self.config.guidance_layers or ())
        return needed if self.config.affinity_layer is None else needed | {self.config.affinity_layer}

    @staticmethod
    def _classes_of_each_picture(
        text_embeddings: torch.Tensor, class_indices: torch.Tensor | None, batch_size: int
    ) -> torch.Tensor:
        if class_indices is not None:
            if text_embeddings.dim() != 2 or class_indices.dim() != 2 or class_indices.shape[0] != batch_size:
                raise ValueError(
                    f"`class_indices` has shape {tuple(class_indices.shape)}; give one row of names a picture, "
                    f"({batch_size}, classes), and the names' embeddings as (names, dim)."
                )
            return text_embeddings[class_indices]
        if text_embeddings.dim() == 2:
            return text_embeddings.expand(batch_size, -1, -1)
        if text_embeddings.shape[0] != batch_size:
            raise ValueError(
                f"`text_embeddings` holds the classes of {text_embeddings.shape[0]} pictures, but there are "
                f"{batch_size}; "
                "give one set a picture, or one for all as (classes, dim)."
            )
        return text_embeddings


class FGASegForSemanticSegmentation(FGASegVocabularyMixin, FGASegPreTrainedModel):
    """FGASeg with its category-aware decoder: labels every pixel of a picture with words of the user's choice."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__(config)
        self.fgaseg = FGASegModel(config)
        self.decoder = FGASegCategoryDecoder(config) if config.decoder_type == "category" else None
        self.alignment_head = FGASegAlignmentHead(config) if config.use_alignment_head else None
        self.vocabulary_head = None
        self.post_init()
        self.freeze_parameters()

    @classmethod
    def from_clip(
        cls,
        clip: str | Path,
        *,
        config: FGASegConfig | None = None,
        training_free: bool = False,
        **overrides: Any,
    ) -> "FGASegForSemanticSegmentation":
        """Takes both towers from a CLIP checkpoint and starts everything else fresh.

        Args:
            clip: A local folder in the Hub's layout, or a Hub id, of any `CLIPModel`.
            config: The configuration; its tower configurations and projection size are replaced by the checkpoint's.
            training_free: Whether there shall be nothing else: the model is [`FGASegConfig.training_free`] at CLIP's
                own picture size and segments without any training. Instead of `config`.
            **overrides: Fields of the configuration to set instead.

        Returns:
            The model, in evaluation mode, with `config.trainable_clip` in force.

        Raises:
            ValueError: If the checkpoint is not a CLIP model, or lacks a weight of one.

        Example:
            >>> model = FGASegForSemanticSegmentation.from_clip("openai/clip-vit-base-patch16", training_free=True)
            >>> processor = FGASegProcessor.from_clip("openai/clip-vit-base-patch16", model.config.image_size)
        """
        if training_free and config is not None:
            raise ValueError("`training_free` is a configuration of its own; leave `config` out and set single fields.")
        towers, own_image_size = read_clip_config(clip)
        image_size = own_image_size if training_free else default_image_size(cast(int, towers.vision_config.patch_size))
        fields = (
            {}
            if config is None
            else {
                name: value
                for name, value in config.to_dict().items()
                if name not in ("guidance_layers", "transformers_version", "vocabulary_key")
            }
        )
        fields |= {
            "text_config": towers.text_config,
            "vision_config": towers.vision_config,
            "projection_dim": towers.projection_dim,
            "logit_scale_init_value": towers.logit_scale_init_value,
            **({} if config else {"image_size": image_size}),
            **overrides,
        }
        config = FGASegConfig.training_free(**fields) if training_free else FGASegConfig(**fields)
        model, report = cls.from_pretrained(clip, config=config, output_loading_info=True)
        missing = sorted(name for name in report["missing_keys"] if name.startswith(tuple(_clip_prefixes())))
        if missing:
            raise ValueError(f"{clip} lacks weights of CLIP, {missing[0]} first; give a whole CLIP checkpoint.")
        return model

    @classmethod
    def from_pretrained(cls, *args: Any, init: Literal["from_catseg"] | None = None, **kwargs: Any) -> Any:
        """As in Transformers; `init="from_catseg"` goes on from a CAT-Seg checkpoint with FGASeg's blocks added.

        All that CAT-Seg has is kept, and the new paths start neutral, so that the first logits are CAT-Seg's. Which
        tensors are new is logged, and returned as `missing_keys` with `output_loading_info=True`. Without `config`,
        the checkpoint's own is taken and every block switched on (fields given by keyword come on top).

        Raises:
            ValueError: There is no such `init`, or the checkpoint does not hold all of the configuration's CAT-Seg.
        """
        if init is None:
            return super().from_pretrained(*args, **kwargs)
        if init != "from_catseg":
            raise ValueError(f"There is no `init` {init!r}; choose 'from_catseg' or leave it out.")
        return_report = kwargs.pop("output_loading_info", False)
        added_blocks = ADDED_BLOCKS if kwargs.get("config") is None else {}
        model, report = super().from_pretrained(
            *args, output_loading_info=True, ignore_mismatched_sizes=True, **{**added_blocks, **kwargs}
        )
        new = check_continuation(args[0] if args else kwargs.get("pretrained_model_name_or_path"), report)
        start_neutral(model, new)
        logger.info("New beside CAT-Seg: %s", ", ".join(new))
        if model.config.num_kept_classes is not None and model.config.use_auxiliary_heads:
            logger.warning("`num_kept_classes` ranks classes by an auxiliary head, which is untrained in a new FGASeg.")
        return (model, report) if return_report else model

    def get_input_embeddings(self) -> nn.Module:
        """The text tower's token table."""
        return self.fgaseg.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text tower's token table."""
        self.fgaseg.set_input_embeddings(value)

    def get_text_embeddings(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes class prompts once, to be given to [`forward`] as `text_embeddings`. See [`FGASegModel`]."""
        return self.fgaseg.get_text_embeddings(input_ids, attention_mask)

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
        **kwargs: Unpack[TransformersKwargs],
    ) -> FGASegOutput:
        r"""
        Args:
            pixel_values: (batch, 3, image_height, image_width), multiples of the patch size.
            input_ids: Class prompts (names, length) or (names, templates, length), shared by the batch. Without these
                and `text_embeddings`, the vocabulary that was set answers, by logits alone.
            attention_mask: In the shape of `input_ids`.
            text_embeddings: Instead of `input_ids`: (names, dim), or (batch, classes, dim) of each
                picture's own classes.
            class_indices: (batch, classes): which of the names are each picture's classes; all of them, if not given.
            labels: (batch, any height, any width), integer places among the picture's classes;
                `config.semantic_loss_ignore_index` where no class is known. With labels, the losses are computed.
            class_weights: (classes,) or (batch, classes): what a pixel labelled with each class counts in the losses,
                for classes of very different size; 1 each, if not given.
            **kwargs: `output_hidden_states` and `output_attentions`, of the image tower.

        Raises:
            ValueError: If a needed input is missing, shapes do not fit, or a label is no class.
        """
        if self.vocabulary_head is not None and input_ids is None and text_embeddings is None:
            return self._segment_with_vocabulary(self.vocabulary_head, pixel_values, class_indices, labels, **kwargs)

        # steps 1 to 4: dense features, words, alignment, pseudo-masks
        features = self.fgaseg(
            pixel_values, input_ids, attention_mask, text_embeddings, class_indices, return_dict=True, **kwargs
        )
        if labels is not None:
            batch_size, num_classes = features.global_pseudo_masks.shape[:2]
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
        output = FGASegOutput(
            **features,
            logits=decoded.logits,
            auxiliary_logits=decoded.auxiliary_logits or None,
            kept_classes=decoded.kept_classes,
        )

        # step 6: losses
        if labels is not None:
            self._add_losses(output, decoded.logits, labels, class_weights)
        return output

    def _add_losses(
        self, output: FGASegOutput, logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None
    ) -> None:
        config = self.config
        output.segmentation_loss = segmentation_loss(logits, labels, config, class_weights)
        output.loss = config.segmentation_loss_weight * output.segmentation_loss
        if self.alignment_head is not None:
            output.alignment_logits = self.alignment_head(output.aligned_text_embeddings, output.patch_features)
            output.alignment_loss = alignment_loss(output.alignment_logits, labels, config, class_weights)
            output.loss = output.loss + config.alignment_loss_weight * output.alignment_loss
        if output.auxiliary_logits is not None:
            output.auxiliary_losses = tuple(
                segmentation_loss(logits, labels, config, class_weights) for logits in output.auxiliary_logits
            )
            for weight, loss in zip(config.auxiliary_loss_weights, output.auxiliary_losses, strict=True):
                output.loss = output.loss + weight * loss

    @torch.no_grad()
    def segment_with_sliding_window(
        self,
        pixel_values: torch.Tensor | list[torch.Tensor],
        text_embeddings: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> list[torch.Tensor]:
        """Class probabilities by sliding windows and the whole picture, as published; see
        [`predict_with_sliding_window`].

        Args:
            pixel_values: Normalised pictures, (batch, 3, height, width) or a list of (3, height, width) of different
            sizes.
            text_embeddings: (classes, dim); those of the vocabulary that was set, if not given.
            **kwargs: Settings of [`predict_with_sliding_window`].

        Returns:
            For each picture, probabilities (classes, height, width) at its own size.
        """

        def predict_logits(pictures: torch.Tensor) -> torch.Tensor:
            return self(pixel_values=pictures, text_embeddings=text_embeddings).logits

        kwargs.setdefault("window_size", self.config.image_size)
        return predict_with_sliding_window(predict_logits, pixel_values, **kwargs)


def _clip_prefixes() -> list[str]:
    modules = ("text_model.", "vision_model.", "visual_projection.", "text_projection.")
    return [prefix + module for prefix in ("", "fgaseg.") for module in modules]


__all__ = [
    "FGASegForSemanticSegmentation",
    "FGASegModel",
    "FGASegModelOutput",
    "FGASegOutput",
    "FGASegPreTrainedModel",
]
