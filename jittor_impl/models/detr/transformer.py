"""Transformer of DETR (paper section 3.2 and figure 10; detr/models/transformer.py), post-norm, batch first."""

from jittor_impl.layers import Dropout, LayerNorm, MultiheadAttention, activation
from jittor_impl.models.transformer import TransformerEncoder
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class TransformerDecoderLayer(nn.Module):
    """Post-norm: self-attention among the queries, attention to the memory, feed-forward with ReLU."""

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float):
        super().__init__()
        self.self_attn = MultiheadAttention(dim, heads, dropout)
        self.multihead_attn = MultiheadAttention(dim, heads, dropout)
        self.linear1 = nn.Linear(dim, ffn)
        self.dropout = Dropout(dropout)
        self.linear2 = nn.Linear(ffn, dim)
        self.norm1 = LayerNorm(dim)
        self.norm2 = LayerNorm(dim)
        self.norm3 = LayerNorm(dim)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.act = activation("relu")

    def execute(self, x: Var, query: Var, memory: Var, key: Var, mask: Var) -> Var:
        """x [B, Q, E], query [1, Q, E] added where x asks, memory and key (memory with its positions) [B, N, E],
        mask bool [B, 1, 1, N], True where the memory is padding -> [B, Q, E]."""
        q = x + query
        x = self.norm1(x + self.dropout1(self.self_attn(q, q, x)[0]))
        x = self.norm2(x + self.dropout2(self.multihead_attn(x + query, key, memory, mask)[0]))
        return self.norm3(x + self.dropout3(self.linear2(self.dropout(self.act(self.linear1(x))))))


class TransformerDecoder(nn.Module):
    """Layers one after the other; one normalisation for the answers of all of them."""

    def __init__(self, num_layers: int, dim: int, heads: int, ffn: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList([TransformerDecoderLayer(dim, heads, ffn, dropout) for _ in range(num_layers)])
        self.norm = LayerNorm(dim)

    def execute(self, x: Var, query: Var, memory: Var, key: Var, mask: Var) -> list[Var]:
        """The answer [B, Q, E] of every layer, normalised; in evaluation only the last one's."""
        answers = []
        for i, layer in enumerate(self.layers):
            x = layer(x, query, memory, key, mask)
            if self.is_training() or i == len(self.layers) - 1:
                answers.append(self.norm(x))
        return answers


class Transformer(nn.Module):
    """Encoder over all places of a map, decoder from learnt queries; padding is masked everywhere."""

    def __init__(self, dim: int, heads: int, encoder_layers: int, decoder_layers: int, ffn: int, dropout: float):
        super().__init__()
        self.encoder = TransformerEncoder(encoder_layers, dim, heads, ffn, dropout, "relu")
        self.decoder = TransformerDecoder(decoder_layers, dim, heads, ffn, dropout)

    def execute(self, features: Var, mask: Var, query: Var, position: Var) -> list[Var]:
        """features and position [B, E, H, W], mask bool [B, H, W], True on padding, query [Q, E] -> as the decoder."""
        x, position = (part.flatten(2).transpose(0, 2, 1) for part in (features, position))
        mask = mask.flatten(1).unsqueeze(1).unsqueeze(1)
        memory = self.encoder(x, position, mask)
        start = jt.zeros((x.shape[0], *query.shape))
        return self.decoder(start, query.unsqueeze(0), memory, memory + position, mask)
