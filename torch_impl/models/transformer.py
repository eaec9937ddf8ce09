"""The post-norm encoder layer that DETR and RT-DETR share (DETR, paper appendix A.3)."""

from torch import Tensor, nn

from torch_impl.layers import Dropout, MultiheadAttention, activation


class TransformerEncoderLayer(nn.Module):
    """Post-norm self-attention and feed-forward; the position is added to query and key, not to the value."""

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float, act: str):
        super().__init__()
        self.self_attn = MultiheadAttention(dim, heads, dropout)
        self.linear1 = nn.Linear(dim, ffn)
        self.dropout = Dropout(dropout)
        self.linear2 = nn.Linear(ffn, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.act = activation(act)

    def forward(self, x: Tensor, position: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, N, E], position [1 or B, N, E] -> [B, N, E]; mask bool [B, 1, 1, N], True where no query may look."""
        q = x + position
        x = self.norm1(x + self.dropout1(self.self_attn(q, q, x, mask)[0]))
        return self.norm2(x + self.dropout2(self.linear2(self.dropout(self.act(self.linear1(x))))))


class TransformerEncoder(nn.Module):
    """Layers one after the other, the position added in each."""

    def __init__(self, num_layers: int, dim: int, heads: int, ffn: int, dropout: float, act: str):
        super().__init__()
        self.layers = nn.ModuleList(TransformerEncoderLayer(dim, heads, ffn, dropout, act) for _ in range(num_layers))

    def forward(self, x: Tensor, position: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, position, mask)
        return x
