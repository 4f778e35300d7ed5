"""Windows of grids of unknown size compute what windows of known grids compute."""

import pytest
import torch
from tiny_models import tiny_config

from fgaseg_hf.cost_aggregation import FGASegWindowAttention


@pytest.mark.parametrize("grid", [(3, 3), (1, 2), (2, 9), (7, 5), (6, 9), (4, 4)], ids=str)
@pytest.mark.parametrize("is_shifted", [False, True])
def test_the_same_attention_as_with_known_windows(grid: tuple[int, int], is_shifted: bool) -> None:
    config = tiny_config()
    config._attn_implementation = "sdpa"
    attention = FGASegWindowAttention(config, is_shifted).eval()
    costs = torch.randn(2, 3, *grid, config.decoder_hidden_dim)
    guidance = torch.randn(2, *grid, config.appearance_guidance_dim)
    with torch.no_grad():
        expected = attention(costs, guidance)
        query = attention.query(costs) + attention.query_guidance(guidance).unsqueeze(1)
        key = attention.key(costs) + attention.key_guidance(guidance).unsqueeze(1)
        found = attention._attend_in_unknown_grid(query, key, attention.value(costs))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
