"""Steps 1 and 2: CLIP's image tower kept dense, guidance maps, and text embeddings."""

from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import (
    CLIPAttention,
    CLIPEncoderLayer,
    CLIPTextModel,
    CLIPVisionModel,
)

from .configuration_fgaseg import FGASegConfig

CLIP_MODULES = ("text_model", "vision_model", "visual_projection", "text_projection", "logit_scale")


class FGASegDenseAttention(CLIPAttention):
    """CLIP's attention without attending: every token keeps its own value, so that patches stay where they are."""

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, None]:
        """(batch, tokens, width) -> the same, and no attention map."""
        return self.out_proj(self.v_proj(hidden_states)), None


class FGASegDenseEncoderLayer(CLIPEncoderLayer):
    """The last block of the image tower: values only, on the class token's residual (as in the released code)."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.self_attn = FGASegDenseAttention(config)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """(batch, 1 + patches, width) -> the same; class token first."""
        values, _ = self.self_attn(self.layer_norm1(hidden_states))
        hidden_states = hidden_states[:, :1] + values
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class FGASegVisionModel(CLIPVisionModel):
    """CLIP's image tower whose last block is dense. Loads CLIP's weights under CLIP's names."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.encoder.layers[-1] = FGASegDenseEncoderLayer(config)
        self.post_init()

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no: see below."""
        # Transformers skips container modules when it initialises "custom code"; CLIP initialises by container.
        return False


class FGASegTextModel(CLIPTextModel):
    """CLIP's text tower, unchanged."""

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no, see [`FGASegVisionModel`]."""
        return False


class FGASegUpsamplingGuidance(nn.Module):
    """Brings the two guidance states of the image tower to 2 x and 4 x the patch grid."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        width = config.vision_config.hidden_size
        coarse_dim, fine_dim = config.upsampling_guidance_dims
        self.coarse = nn.ConvTranspose2d(width, coarse_dim, kernel_size=2, stride=2)
        self.fine = nn.ConvTranspose2d(width, fine_dim, kernel_size=4, stride=4)

    def forward(
        self, hidden_states: tuple[torch.Tensor, torch.Tensor], grid: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states: Two token sequences (batch, 1 + height * width, width), class token first.
            grid: The patch grid (height, width).

        Returns:
            Maps (batch, coarse_dim, 2 height, 2 width) and (batch, fine_dim, 4 height, 4 width).
        """
        coarse, fine = (tokens_to_map(states[:, 1:], grid) for states in hidden_states)
        return self.coarse(coarse), self.fine(fine)


def tokens_to_map(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Lays patch tokens (batch, height * width, channels) out as a map (batch, channels, height, width)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def is_clip_parameter(name: str) -> bool:
    """Whether a parameter of [`FGASegForSemanticSegmentation`] or [`FGASegModel`], named so, belongs to CLIP."""
    return name.removeprefix("fgaseg.").split(".")[0] in CLIP_MODULES


def is_trainable_parameter(name: str, config: FGASegConfig) -> bool:
    """Whether a parameter trains under `config.trainable_clip`.

    CLIP's temperature and the last image block's query and key never do: no output depends on them.

    Args:
        name: The parameter's name in the model.
        config: The model's configuration.
    """
    if not is_clip_parameter(name):
        return True
    last_block = f"vision_model.encoder.layers.{config.vision_config.num_hidden_layers - 1}.self_attn."
    unused = name.endswith("logit_scale") or (last_block in name and ("q_proj" in name or "k_proj" in name))
    if unused or config.trainable_clip == "none":
        return False
    if config.trainable_clip == "query_value":
        return name.endswith((".q_proj.weight", ".v_proj.weight"))
    return True
