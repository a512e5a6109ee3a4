"""The language model: text and a recording's speech tokens in, logits of the next token out.

Qwen2 blocks over a cache of slots. A slot is a row of the cache; decoding runs rows ``0..rows-1``
and columns ``0..span-1`` of it, so a captured graph sees the same memory at every step. Knows
nothing of requests, sampling or time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody gives it
from torch import Tensor, nn

from .device import upload
from .dims import SPEECH_CODES, LMDims

Place = tuple[Tensor, Tensor]
"""Row and column of the cache for each row of a batch."""
START = SPEECH_CODES
TASK = SPEECH_CODES + 2


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 whatever the weights are."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class KVCache:
    """Keys and values of every layer: (layers, 2, slots, kv_heads, length, head)."""

    def __init__(
        self, dims: LMDims, slots: int, length: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (dims.layers, 2, slots, dims.kv_heads, length, dims.head)
        self.data = torch.zeros(shape, dtype=dtype, device=device)
        self.slots, self.length = slots, length


class Block(nn.Module):
    """One Qwen2 layer with its projections fused into as few products as there can be."""

    def __init__(self, dims: LMDims) -> None:
        super().__init__()
        self.dims = dims
        self.split = [dims.heads, dims.kv_heads, dims.kv_heads]
        self.qkv = nn.Linear(dims.width, sum(self.split) * dims.head)
        self.out = nn.Linear(dims.width, dims.width, bias=False)
        self.gate_up = nn.Linear(dims.width, 2 * dims.inner, bias=False)
        self.down = nn.Linear(dims.inner, dims.width, bias=False)
        self.norm_in = RMSNorm(dims.width, dims.eps)
        self.norm_mid = RMSNorm(dims.width, dims.eps)

    def heads(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, each (batch, heads, time, head)."""
        batch, time, _ = x.shape
        all_heads = self.qkv(self.norm_in(x)).view(batch, time, -1, self.dims.head).transpose(1, 2)
        turning, v = torch.split(all_heads, [sum(self.split[:2]), self.split[2]], 1)
        q, k = torch.split(rotate(turning, cos, sin), self.split[:2], 1)
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The residual after attention (batch, time, width) and the gated layer after it."""
        x = x + self.out(attended)
        gate, up = self.gate_up(self.norm_mid(x)).chunk(2, -1)
        out: Tensor = x + self.down(F.silu(gate) * up)
        return out

    def prefill(self, x: Tensor, cos: Tensor, sin: Tensor, cache: Tensor, slots: Tensor) -> Tensor:
        """Prompts attend to themselves; their keys and values go into their slots."""
        q, k, v = self.heads(x, cos, sin)
        cache[0, slots, :, : x.shape[1]] = k
        cache[1, slots, :, : x.shape[1]] = v
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.finish(x, mixed.transpose(1, 2).flatten(2))

    def decode(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: Tensor, at: Place, mask: Tensor
    ) -> Tensor:
        """One token per row against rows of the cache, (2, rows, kv_heads, span, head)."""
        q, k, v = self.heads(x, cos, sin)
        row, column = at
        rows = len(row)
        cache[0, row, :, column] = k[:, :, 0]
        cache[1, row, :, column] = v[:, :, 0]
        # Query heads that share a key head stand in the time axis: no key is ever repeated.
        grouped = q.reshape(rows, self.dims.kv_heads, -1, self.dims.head)
        mixed = F.scaled_dot_product_attention(grouped, cache[0], cache[1], attn_mask=mask)
        return self.finish(x, mixed.reshape(rows, 1, -1))


class SpeechLM(nn.Module):
    """Embeddings, blocks and the head over speech tokens."""

    cos: Tensor
    sin: Tensor

    def __init__(self, dims: LMDims, length: int) -> None:
        super().__init__()
        self.dims = dims
        self.text = nn.Embedding(dims.vocab, dims.width)
        self.speech = nn.Embedding(dims.speech_rows, dims.width)
        self.blocks = nn.ModuleList(Block(dims) for _ in range(dims.layers))
        self.norm = RMSNorm(dims.width, dims.eps)
        self.head = nn.Linear(dims.width, dims.speech_rows, bias=False)
        half = torch.arange(0, dims.head, 2).float() / dims.head
        angle = torch.outer(torch.arange(length).float(), 1.0 / dims.rope_theta**half).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def embed(self, text: Sequence[int], speech: Sequence[int]) -> Tensor:
        """One prompt, (time, width): start mark, text, task mark, speech of the recording."""
        device = self.head.weight.device
        words = self.text(upload(text, device))
        spoken = self.speech(upload([START, TASK, *speech], device))
        return torch.cat([spoken[:1], words, spoken[1:]])

    def prefill(self, prompts: Sequence[Tensor], slots: Tensor, cache: KVCache) -> Tensor:
        """Write prompts (time, width) into ``slots``; logits (batch, rows) after the last."""
        ends = upload([len(p) - 1 for p in prompts], slots.device)
        x = nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
        time = x.shape[1]
        cos, sin = self.cos[:time].to(x.dtype), self.sin[:time].to(x.dtype)
        for block, layer in zip(self._layers(), cache.data, strict=True):
            x = block.prefill(x, cos, sin, layer, slots)
        return self._logits(x[torch.arange(len(prompts), device=x.device), ends])

    def decode(self, tokens: Tensor, at: Tensor, cache: KVCache, span: int) -> Tensor:
        """One step for rows ``0..len(tokens)-1``, each writing column ``at`` (below ``span``)."""
        rows = tokens.shape[0]
        x = self.speech(tokens)[:, None]
        cos, sin = (table[at][:, None, None].to(x.dtype) for table in (self.cos, self.sin))
        hidden = torch.arange(span, device=at.device) > at[:, None]
        # Added to the scores: a mask of truth values would be turned into this in every layer.
        mask = torch.zeros_like(hidden, dtype=x.dtype).masked_fill_(hidden, float("-inf"))
        place = torch.arange(rows, device=at.device), at
        window = cache.data[:, :, :rows, :, :span]
        for block, layer in zip(self._layers(), window, strict=True):
            x = block.decode(x, cos, sin, layer, place, mask[:, None, None])
        return self._logits(x[:, 0])

    def _layers(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _logits(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.norm(x))
        return scores.float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position of (…, time, head) in the halves-apart convention of Qwen2."""
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat((-high, low), -1) * sin


def from_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The released names of ``llm.pt`` to ours; names it does not know pass unchanged."""
    state = {k.removeprefix("llm.model.model."): v for k, v in state.items()}
    state.pop("llm.model.lm_head.weight", None)  # the text head of Qwen2: speech never uses it
    plain = {
        "embed_tokens.weight": "text.weight",
        "speech_embedding.weight": "speech.weight",
        "llm_decoder.weight": "head.weight",
    }
    out = {plain.get(k, k): v for k, v in state.items() if not k.startswith("layers.")}
    layers = {k: v for k, v in state.items() if k.startswith("layers.")}
    for i in sorted({k.split(".")[1] for k in layers}, key=int):
        out |= _released_block(layers, f"layers.{i}.", f"blocks.{i}.")
    return out | layers


def _released_block(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    fused = {
        "qkv.weight": [f"self_attn.{p}_proj.weight" for p in "qkv"],
        "qkv.bias": [f"self_attn.{p}_proj.bias" for p in "qkv"],
        "out.weight": ["self_attn.o_proj.weight"],
        "gate_up.weight": ["mlp.gate_proj.weight", "mlp.up_proj.weight"],
        "down.weight": ["mlp.down_proj.weight"],
        "norm_in.weight": ["input_layernorm.weight"],
        "norm_mid.weight": ["post_attention_layernorm.weight"],
    }
    found = {k: v for k, v in fused.items() if all(old + part in state for part in v)}
    return {new + k: torch.cat([state.pop(old + p) for p in v]) for k, v in found.items()}
