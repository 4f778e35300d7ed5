# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg model configuration."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import CLIPTextConfig, CLIPVisionConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from .configuration_checks import check_architecture


@strict
class FGASegConfig(PreTrainedConfig):
    r"""Configuration of FGASeg: CLIP's two towers, then one group of fields for each block of the paper.

    The defaults are the published `fast`, `cat` model on CLIP ViT-B/16 (arXiv 2501.00877). Every block can be switched
    off by itself; [`FGASegConfig.catseg`] switches off all that FGASeg adds to CAT-Seg (arXiv 2303.11797).

    Args:
        text_config (`dict` or `CLIPTextConfig`, *optional*):
            The text tower; CLIP ViT-B/16's by default.
        vision_config (`dict` or `CLIPVisionConfig`, *optional*):
            The image tower; CLIP ViT-B/16's (224 pixels) by default. Its `image_size` is that of its position table,
            not that of the pictures: positions are interpolated to each picture's grid.
        projection_dim (`int`, defaults to 512):
            Size D of the space that patches and words share.
        logit_scale_init_value (`float`, defaults to 2.6592):
            CLIP's temperature; kept so that a checkpoint holds all of CLIP.
        image_size (`int`, defaults to 384):
            Side in pixels at which pictures are meant to be run.
        trainable_clip (`"query_value"`, `"all"` or `"none"`, defaults to `"query_value"`):
            Which weights of both towers train: the query and value projections (published), all, or none.
        dense_attention (`"value"`, `"self_correlation"` or `"neighbour"`, defaults to `"value"`):
            What a patch attends to in the last block of the image tower: itself alone (published), or what is like it,
            as in SCLIP and NACLIP; see [`FGASegDenseAttention`].
        dense_residual (`"class"`, `"patch"` or `"none"`, defaults to `"class"`):
            What the last block adds its attention to: the class token (published), each patch (as in CLIP and SCLIP),
            or nothing, and no feed-forward layer either (as in NACLIP).
        neighbour_std (`float`, defaults to 5.0):
            Width in patches of the neighbourhood that `dense_attention="neighbour"` favours.
        affinity_layer (`int`, *optional*):
            Smooth the global pseudo-masks by how alike patches are in this hidden state of the image tower (0 =
            embeddings, i = after block i), as in ProxyCLIP; see [`patch_affinity`]. `None`: no smoothing.
        affinity_temperature (`float`, defaults to 0.1):
            Temperature of that affinity; the lower, the more only the most alike patches count.
        guidance_layers (`list[int]`, *optional*):
            The two hidden states (0 = embeddings, i = after block i) that guide upsampling, coarse to fine; a third
            and two thirds of the depth by default, which is 4, 8 of 12 and 8, 16 of 24.
        upsampling_guidance_dims (`list[int]`, defaults to `(256, 128)`):
            Channels of the guidance maps at 2 x and 4 x the patch grid.
        p2tformer_num_layers (`int`, defaults to 1):
            Layers of the P2Tformer, which aligns words with patches; 0 switches it off.
        p2tformer_direction (`"text"` or `"dual"`, defaults to `"text"`):
            What the P2Tformer updates: the words, or the words and the patches.
        p2tformer_num_heads (`int`, defaults to 8):
            Attention heads of the P2Tformer.
        p2tformer_scale_init (`float`, defaults to 0.1):
            Start of the learned vector that scales what the P2Tformer adds.
        use_alignment_head (`bool`, defaults to `True`):
            Whether the text-pixel alignment (T2P) loss is part of training.
        alignment_kernel_size (`int`, defaults to 3):
            Side of the kernel that a word becomes in the alignment head.
        use_local_pseudo_masks (`bool`, defaults to `True`):
            Whether local pseudo-masks supplement the global ones (LCS).
        local_kernel_size (`int`, defaults to 3):
            Side of the kernel that a word becomes in the local pseudo-masks; 1, 3, 5 in the paper.
        decoder_type (`"category"` or `"cosine"`, defaults to `"category"`):
            The category-aware decoder, or CLIP's own rule: the global pseudo-masks times CLIP's temperature, and a
            softmax over the classes; see [`decode_cosines`]. `"cosine"` has no weights, and the fields of the
            category-aware decoder below have no effect on it.
        fusion (`"cat"` or `"add"`, defaults to `"cat"`):
            How global and local embeddings are fused.
        decoder_hidden_dim (`int`, defaults to 128):
            Channels of a class's cost embedding.
        num_aggregation_layers (`int`, defaults to 2):
            Layers of spatial, then class aggregation.
        num_aggregation_heads (`int`, defaults to 4):
            Attention heads of both aggregations.
        window_size (`int`, defaults to 12):
            Side in patches of the spatial aggregation's windows.
        appearance_guidance_dim, text_guidance_dim (`int`, default to 128):
            Channels of the guidance of spatial and of class aggregation.
        class_pooling_size (`int`, defaults to 1), training_class_pooling_size (`int`, defaults to 2):
            Average pooling before class aggregation in evaluation and in training.
        projected_guidance_dims (`list[int]`, defaults to `(32, 16)`):
            Channels of guidance that enter the two upsampling stages.
        decoder_dims (`list[int]`, defaults to `(64, 32)`):
            Channels that leave the two upsampling stages; multiples of 16.
        use_auxiliary_heads (`bool`, defaults to `True`):
            Whether the decoder has its three auxiliary heads (the released `fast` decoder) or not (`no_fast`).
        class_limit (`int`, *optional*, defaults to 256):
            Of more classes than this, each picture keeps those whose global map peaks highest. `None`: no limit. The
            released `pad_len` is this and `class_padding` in one.
        class_padding (`int`, defaults to 256):
            Fewer classes than this are filled up by learned padding tokens in class aggregation; 0 switches them off.
        num_kept_classes (`int`, *optional*):
            TopK: how many classes go on through the decoder at inference; `None` keeps all.
        class_selection_rule (`"peak"`, `"softmax_peak"` or `"union"`, defaults to `"peak"`):
            `"peak"` keeps exactly `num_kept_classes`, ranked by the peak of auxiliary map 0 (of the global map if
            there are no auxiliary heads); `"softmax_peak"` by the peak of that map's softmax over the classes, so that
            a class which leads weakly goes before one that is beaten everywhere. `"union"` is the released rule: the
            best `num_kept_classes` of every pixel, united over the picture, after each of the three auxiliary heads.
        num_decoded_classes (`int`, *optional*):
            Hard negatives in training: every name is scored by auxiliary map 0, which has its loss over all of them,
            and each picture's own names with the highest others, so many in all, go through the decoder. The text tower
            learns from these alone. `None`, as published: all do. It needs the auxiliary heads, a `class_limit` above
            the number of names, and names that are given with the pictures.
        default_threshold (`float`, *optional*):
            Where a caller names neither a threshold nor a background, pixels whose best word has a lower probability
            get none. For checkpoints that were trained to say "none of these", of which one word may be asked; `None`
            labels every pixel, as the published models do.
        segmentation_loss_weight, alignment_loss_weight (`float`, default to 1.0 and 0.02):
            Weights of the losses.
        auxiliary_loss_weights (`list[float]`, defaults to `(0.2, 1.0, 1.0)`):
            Weights of the three auxiliary losses.
        ignored_pixels_as_negatives (`bool`, defaults to `True`):
            Whether ignored pixels count as "no class" in the losses (published) or are left out.
        semantic_loss_ignore_index (`int`, defaults to 255):
            The label of ignored pixels.
        initializer_factor (`float`, defaults to 1.0):
            Scale of CLIP's own initialisation.
        vocabulary_key (`str`, *optional*):
            Key of the vocabulary that is saved beside the checkpoint; `model.set_vocabulary` sets it. `None`: there is
            none, or it shall not be loaded.
        problem_type (`str`, defaults to `"multi_label_classification"`):
            What Transformers calls a loss of one sigmoid a class: `Trainer` then leaves out label smoothing, which is
            made for a softmax over the last axis, and says so.

    Raises:
        ValueError: If a field is out of range; the message names the field and the mend.

    Example:
    ```python
    >>> from fgaseg_hf import FGASegConfig

    >>> FGASegConfig().guidance_layers
    [4, 8]
    ```
    """

    model_type = "fgaseg"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(CLIPTextConfig),
        "vision_config": SubConfigSpec(CLIPVisionConfig, init_kwargs={"patch_size": 16}),
    }
    # Trainer gathers every output by its first axis; these are not one row a picture.
    keys_to_ignore_at_inference = [
        "text_embeddings",
        "aligned_text_embeddings",
        "patch_features",
        "upsampling_guidance",
        "global_pseudo_masks",
        "local_pseudo_masks",
        "alignment_logits",
        "auxiliary_logits",
        "auxiliary_losses",
        "segmentation_loss",
        "alignment_loss",
        "kept_classes",
        "hidden_states",
        "attentions",
    ]

    # CLIP, kept dense
    text_config: dict | CLIPTextConfig | None = None
    vision_config: dict | CLIPVisionConfig | None = None
    projection_dim: int = 512
    logit_scale_init_value: float | int = 2.6592
    image_size: int = 384
    trainable_clip: Literal["query_value", "all", "none"] = "query_value"
    dense_attention: Literal["value", "self_correlation", "neighbour"] = "value"
    dense_residual: Literal["class", "patch", "none"] = "class"
    neighbour_std: float | int = 5.0
    guidance_layers: list[int] | tuple[int, ...] | None = None
    upsampling_guidance_dims: list[int] | tuple[int, ...] = (256, 128)
    # Pixel-text alignment
    p2tformer_num_layers: int = 1
    p2tformer_direction: Literal["text", "dual"] = "text"
    p2tformer_num_heads: int = 8
    p2tformer_scale_init: float | int = 0.1
    use_alignment_head: bool = True
    alignment_kernel_size: int = 3
    # Category supplementation
    use_local_pseudo_masks: bool = True
    local_kernel_size: int = 3
    affinity_layer: int | None = None
    affinity_temperature: float | int = 0.1
    # Category-aware decoder
    decoder_type: Literal["category", "cosine"] = "category"
    fusion: Literal["cat", "add"] = "cat"
    decoder_hidden_dim: int = 128
    num_aggregation_layers: int = 2
    num_aggregation_heads: int = 4
    window_size: int = 12
    appearance_guidance_dim: int = 128
    text_guidance_dim: int = 128
    class_pooling_size: int = 1
    training_class_pooling_size: int = 2
    projected_guidance_dims: list[int] | tuple[int, ...] = (32, 16)
    decoder_dims: list[int] | tuple[int, ...] = (64, 32)
    use_auxiliary_heads: bool = True
    # Class selection
    class_limit: int | None = 256
    class_padding: int = 256
    num_kept_classes: int | None = None
    class_selection_rule: Literal["peak", "softmax_peak", "union"] = "peak"
    num_decoded_classes: int | None = None
    default_threshold: float | int | None = None
    # Losses
    segmentation_loss_weight: float | int = 1.0
    alignment_loss_weight: float | int = 0.02
    auxiliary_loss_weights: list[float | int] | tuple[float | int, ...] = (0.2, 1.0, 1.0)
    ignored_pixels_as_negatives: bool = True
    semantic_loss_ignore_index: int = 255
    # Initialisation
    initializer_factor: float | int = 1.0
    # Vocabulary
    vocabulary_key: str | None = None
    # What Transformers is told
    problem_type: Literal["regression", "single_label_classification", "multi_label_classification"] | None = (
        "multi_label_classification"
    )

    def __post_init__(self, **kwargs: Any) -> None:
        # A checkpoint names the pipeline that it brings. Where the package is installed, its own has that name, and
        # Transformers would want to be allowed to run the checkpoint's.
        if not __name__.startswith("transformers_modules."):
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)
        if self.guidance_layers is None:
            depth = self.vision_config.num_hidden_layers
            self.guidance_layers = [max(depth // 3, 1), max(2 * depth // 3, 1)]
        if self.id2label and self.label2id is None:
            self.label2id = {str(name): int(index) for index, name in self.id2label.items()}
        # Checked here too, since `@strict` would wrap what `validate_architecture` raises in an error of its own.
        self.validate_architecture()

    @classmethod
    def catseg(cls, **kwargs: Any) -> "FGASegConfig":
        """CAT-Seg (arXiv 2303.11797): FGASeg with all its own blocks switched off.

        Args:
            **kwargs: Any other field of the configuration.
        """
        switched_off = {
            "p2tformer_num_layers": 0,
            "use_alignment_head": False,
            "use_local_pseudo_masks": False,
            "use_auxiliary_heads": False,
        }
        return cls(**{**switched_off, **kwargs})

    @classmethod
    def training_free(cls, **kwargs: Any) -> "FGASegConfig":
        """CLIP alone, which needs no training: every block that has weights of its own is switched off.

        Args:
            **kwargs: Any other field of the configuration.
        """
        switched_off = {
            "decoder_type": "cosine",
            "p2tformer_num_layers": 0,
            "use_alignment_head": False,
            "use_local_pseudo_masks": False,
            "use_auxiliary_heads": False,
        }
        return cls(**{**switched_off, **kwargs})

    def validate_architecture(self) -> None:
        """Checks every field against the others: see [`check_architecture`].

        Raises:
            ValueError: If the fields contradict each other or are out of range.
        """
        check_architecture(self)


__all__ = ["FGASegConfig"]
