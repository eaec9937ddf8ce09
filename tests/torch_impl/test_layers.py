"""Shared layers against PyTorch's own, and dropout against its draws."""

import numpy as np
import pytest
import torch
from torch import nn

from torch_impl.layers import Dropout, FrozenBatchNorm2d, MultiheadAttention
from torch_impl.models.transformer import TransformerEncoderLayer


class StoredUniform:
    def __init__(self, values):
        self.values = values

    def uniform(self, shape):
        return self.values.reshape(shape)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_pytorchs(masked):
    ours, official = MultiheadAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in official.named_parameters()]
    official.load_state_dict(ours.state_dict())
    nn.init.normal_(official.in_proj_bias)
    ours.load_state_dict(official.state_dict())
    q, k, v = torch.rand(2, 5, 16), torch.rand(2, 7, 16), torch.rand(2, 7, 16)
    mask = torch.rand(5, 7) < 0.3 if masked else None
    want = official(q, k, v, attn_mask=mask)[0]
    assert torch.allclose(ours(q, k, v, mask)[0], want, atol=1e-6)
    ours.drop.p = 1e-9  # the path with dropout, which then drops nothing
    ours.drop.draws = StoredUniform(np.full(2 * 4 * 5 * 7, 0.5, np.float32))
    assert torch.allclose(ours(q, k, v, mask)[0], want, atol=1e-6)


def test_encoder_layer_is_pytorchs_with_the_position_in_query_and_key_only():
    layer = TransformerEncoderLayer(16, 4, 32, 0.0, "gelu")
    x, position = torch.rand(2, 6, 16), torch.rand(1, 6, 16)
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    attention.load_state_dict(layer.self_attn.state_dict())
    y = layer.norm1(x + attention(x + position, x + position, x)[0])
    want = layer.norm2(y + layer.linear2(nn.functional.gelu(layer.linear1(y))))
    assert torch.allclose(layer(x, position), want, atol=1e-6)


def test_dropout_keeps_the_mean_and_drops_what_is_drawn_below_p():
    drop, x = Dropout(0.25), torch.tensor([3.0, 6.0, 9.0, 12.0])
    drop.draws = StoredUniform(np.array([0.1, 0.25, 0.9, 0.2], np.float32))
    assert drop(x).tolist() == pytest.approx([0.0, 8.0, 12.0, 0.0])
    assert torch.equal(drop.eval()(x), x)


def test_frozen_norm_is_the_evaluation_of_a_trained_one():
    trained, frozen = nn.BatchNorm2d(3).eval(), FrozenBatchNorm2d(3)
    for tensor in (trained.weight, trained.bias, trained.running_mean, trained.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    frozen.load_state_dict({n: t for n, t in trained.state_dict().items() if n != "num_batches_tracked"})
    x = torch.rand(2, 3, 4, 4)
    assert torch.allclose(frozen.train()(x), trained(x), atol=1e-6)
    assert list(frozen.parameters()) == []
