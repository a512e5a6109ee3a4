"""The flow: speech tokens and a recording's mel in, mel of the speech out.

A look-ahead convolution widens tokens to frames, and ten Euler steps of a diffusion transformer
turn fixed noise into mel under classifier-free guidance. All rows of a batch share the time of a
step, so what the network derives from time alone is computed once, when weights are loaded. Rows
may be padded, and may differ in whether they stream and whether they are final.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .device import upload
from .dims import FRAMES_PER_TOKEN, MAX_SECONDS, MEL_BINS, MEL_RATE, FlowDims

Vectors = tuple[Tensor, ...]
"""Shift, scale and gate of a layer at one time; scales have their 1 added."""


@dataclass(frozen=True)
class FlowRow:
    """One row of a batch.

    ``tokens`` (n,) are the recording's followed by the speech's, ``prompt_mel`` (p, 80) the
    recording's frames, ``speaker`` (192,). Not ``final``: the last three tokens are only looked
    at. ``streaming``: frames attend within chunks, so that what comes first never changes.
    """

    tokens: Tensor
    prompt_mel: Tensor
    speaker: Tensor
    streaming: bool = False
    final: bool = True


class Attention(nn.Module):
    """Self-attention with rotary position on the first head only, as it was trained."""

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        self.heads, self.head = dims.heads, dims.head
        self.qkv = nn.Linear(dims.width, 3 * dims.heads * dims.head)
        self.out = nn.Linear(dims.heads * dims.head, dims.width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        batch, time, _ = x.shape
        qkv = self.qkv(x).view(batch, time, 3, self.heads, self.head)
        first = qkv[:, :, :2, 0]
        first.copy_(turn(first, cos, sin))
        q, k, v = qkv.transpose(1, 3).unbind(2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a feed-forward layer, each scaled, shifted and gated by time."""

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        self.modulation = nn.Linear(dims.width, 6 * dims.width)
        self.attention = Attention(dims)
        self.wide = nn.Linear(dims.width, dims.inner)
        self.narrow = nn.Linear(dims.inner, dims.width)

    def forward(
        self, x: Tensor, time: Vectors, cos: Tensor, sin: Tensor, mask: Tensor | None
    ) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = time
        mixed = self.attention(norm(x, scale_a, shift_a), cos, sin, mask)
        x = torch.addcmul(x, gate_a, mixed)
        hidden = F.gelu(self.wide(norm(x, scale_m, shift_m)), approximate="tanh")
        return torch.addcmul(x, gate_m, self.narrow(hidden))


class Estimator(nn.Module):
    """The diffusion transformer: where the mel should move next."""

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        self.dims = dims
        self.time_in = nn.Linear(dims.time_width, dims.width)
        self.time_out = nn.Linear(dims.width, dims.width)
        self.proj = nn.Linear(4 * MEL_BINS, dims.width)
        self.conv1, self.conv2 = (
            nn.Conv1d(dims.width, dims.width, dims.conv_kernel, groups=dims.conv_groups)
            for _ in range(2)
        )
        self.blocks = nn.ModuleList(Block(dims) for _ in range(dims.depth))
        self.modulation = nn.Linear(dims.width, 2 * dims.width)
        self.out = nn.Linear(dims.width, MEL_BINS)

    def still(self, cond: Tensor, mu: Tensor, speaker: Tensor) -> Tensor:
        """The part of the input that no step changes, (batch, time, width)."""
        weight = torch.split(self.proj.weight, MEL_BINS, 1)
        fixed = F.linear(cond, weight[1]) + F.linear(mu, weight[2], self.proj.bias)
        return fixed + F.linear(speaker, weight[3])[:, None]

    def moving(self, x: Tensor) -> Tensor:
        """The part of the input that is the mel under way."""
        return F.linear(x, self.proj.weight[:, :MEL_BINS])

    def times(self, t: Tensor) -> list[list[Vectors]]:
        """All modulations for each time of ``t``: per step, those of every block and the last."""
        half = self.dims.time_width // 2
        rate = torch.exp(torch.arange(half, device=t.device) * -(math.log(10_000) / (half - 1)))
        angle = 1000 * t[:, None] * rate
        wave = torch.cat((angle.sin(), angle.cos()), -1).to(self.time_in.weight.dtype)
        embedded = F.silu(self.time_out(F.silu(self.time_in(wave))))
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        inner = [block.modulation(embedded).chunk(6, -1) for block in blocks]
        scale, shift = self.modulation(embedded).chunk(2, -1)
        columns = [(sa, 1 + ca, ga, sm, 1 + cm, gm) for sa, ca, ga, sm, cm, gm in inner]
        layers: list[Vectors] = [*columns, (shift, 1 + scale)]
        return [[tuple(v[i] for v in layer) for layer in layers] for i in range(len(t))]

    def forward(
        self, x: Tensor, times: list[Vectors], cos: Tensor, sin: Tensor, mask: Tensor | None
    ) -> Tensor:
        """``x`` (batch, time, width) is ``still + moving``; the result is (batch, time, 80)."""
        conv = x.transpose(1, 2)
        for layer in (self.conv1, self.conv2):
            conv = F.mish(layer(F.pad(conv, (self.dims.conv_kernel - 1, 0))))
        x = x + conv.transpose(1, 2)
        for block, time in zip(self.blocks, times[:-1], strict=True):
            x = block(x, time, cos, sin, mask)
        shift, scale = times[-1]
        out: Tensor = self.out(norm(x, scale, shift))
        return out


class Flow(nn.Module):
    """Tokens to mel for a batch of rows."""

    noise: Tensor

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        self.dims = dims
        self.tokens = nn.Embedding(dims.codes, MEL_BINS)
        self.speaker = nn.Linear(dims.speaker, MEL_BINS)
        self.look1 = nn.Conv1d(MEL_BINS, dims.look_channels, dims.look_ahead + 1)
        self.look2 = nn.Conv1d(dims.look_channels, MEL_BINS, 3)
        self.estimator = Estimator(dims)
        # Every utterance starts from this one noise; it is part of the model, but of no file.
        seeded = torch.Generator().manual_seed(0)
        noise = torch.randn(1, MEL_BINS, MEL_RATE * MAX_SECONDS, generator=seeded, device="cpu")
        self.register_buffer("noise", noise.transpose(1, 2).contiguous(), persistent=False)
        self._times: list[list[Vectors]] | None = None

    @torch.inference_mode()
    def forward(self, rows: list[FlowRow], frames: int | None = None) -> list[Tensor]:
        """Mel after the recording of each row, (t, 80); ``frames`` pads the batch to a length."""
        mu, lengths = self._widen(rows)
        longest = max(lengths)
        width = max(min(frames or 0, self.noise.shape[1]), longest)
        mu = F.pad(mu, (0, 0, 0, width - mu.shape[1])) if width > mu.shape[1] else mu[:, :width]
        inside = within(lengths, width, mu.device)
        mask = self._mask(rows, lengths, inside)
        mu = mu * inside[..., None]
        cond = torch.zeros_like(mu)
        for i, row in enumerate(rows):
            cond[i, : len(row.prompt_mel)] = row.prompt_mel
        vectors = F.normalize(torch.stack([row.speaker.float() for row in rows]), dim=1)
        x = self._solve(mu, cond, self.speaker(vectors.to(mu.dtype)), mask)
        return [x[i, len(r.prompt_mel) : lengths[i]] for i, r in enumerate(rows)]

    def _widen(self, rows: list[FlowRow]) -> tuple[Tensor, list[int]]:
        """Tokens through the look-ahead layer: (batch, frames, 80), and frames of each row."""
        counts = [len(row.tokens) for row in rows]
        ids = nn.utils.rnn.pad_sequence([row.tokens for row in rows], batch_first=True)
        e = self.tokens(ids) * within(counts, ids.shape[1], ids.device)[..., None]
        e = e.transpose(1, 2)
        hidden = F.leaky_relu(self.look1(F.pad(e, (0, self.dims.look_ahead))))
        wide = (self.look2(F.pad(hidden, (2, 0))) + e).transpose(1, 2)
        kept = [
            n if row.final else n - self.dims.look_ahead
            for n, row in zip(counts, rows, strict=True)
        ]
        frames = wide.repeat_interleave(FRAMES_PER_TOKEN, 1)
        return frames, [FRAMES_PER_TOKEN * n for n in kept]

    def _mask(self, rows: list[FlowRow], lengths: list[int], inside: Tensor) -> Tensor | None:
        """Who may look at whom: added to the scores of guided and free, (2 batch, 1, …, time).

        None where all may look at all: attention without a mask has the fastest kernels.
        """
        streaming = any(row.streaming for row in rows)
        if not streaming and min(lengths) == inside.shape[1]:
            return None
        seen = inside[:, None, None]
        if streaming:
            at = torch.arange(inside.shape[1], device=inside.device)
            chunked = at < ((at // self.dims.chunk + 1) * self.dims.chunk)[:, None]
            whole = upload([not row.streaming for row in rows], inside.device).bool()
            seen = seen & (chunked | whole[:, None, None, None])
        mask = torch.zeros_like(seen, dtype=self.estimator.out.weight.dtype)
        return mask.masked_fill_(~seen, float("-inf")).repeat(2, 1, 1, 1)

    def _solve(self, mu: Tensor, cond: Tensor, speaker: Tensor, mask: Tensor | None) -> Tensor:
        batch, width, _ = mu.shape
        guided, free = self.estimator.still(cond, mu, speaker), self.estimator.proj.bias
        still = torch.cat((guided, free.expand_as(guided)))
        half = torch.arange(0, self.dims.head, 2, device=mu.device).float() / self.dims.head
        at = torch.arange(width, device=mu.device).float()
        angle = torch.outer(at, 1.0 / 10_000**half).repeat_interleave(2, -1)[:, None]
        cos, sin = angle.cos().to(mu.dtype), angle.sin().to(mu.dtype)
        x = self.noise[:, :width].expand(batch, -1, -1)
        for times, dt in zip(self._moments(), grid(self.dims.steps)[1], strict=True):
            moved = self.estimator.moving(x.to(mu.dtype)).repeat(2, 1, 1)
            towards, away = self.estimator(still + moved, times, cos, sin, mask).float().chunk(2)
            x = x + dt * ((1 + self.dims.guidance) * towards - self.dims.guidance * away)
        return x

    def _moments(self) -> list[list[Vectors]]:
        if self._times is None:
            moments = torch.tensor(grid(self.dims.steps)[0])
            self._times = self.estimator.times(moments.to(self.noise.device))
        return self._times


@lru_cache
def grid(steps: int) -> tuple[list[float], list[float]]:
    """When each step begins and how far it goes, rounded as they were in training."""
    ends = 1 - torch.cos(torch.linspace(0, 1, steps + 1) * 0.5 * torch.pi)
    return ends[:-1].tolist(), (ends[1:] - ends[:-1]).tolist()


def within(lengths: list[int], width: int, device: torch.device) -> Tensor:
    """Which places of each row are its own, (rows, width)."""
    return torch.arange(width, device=device) < upload(lengths, device)[:, None]


def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm, scaled and shifted by what time says."""
    return F.layer_norm(x, x.shape[-1:], scale, shift, eps=1e-6)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position of (batch, time, any, head) in the interleaved convention."""
    swapped = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    return x * cos + swapped * sin


def from_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The released names of ``flow.pt`` to ours; names it does not know pass unchanged."""
    plain = {
        "input_embedding.": "tokens.",
        "spk_embed_affine_layer.": "speaker.",
        "pre_lookahead_layer.conv": "look",
        "decoder.estimator.time_embed.time_mlp.0.": "estimator.time_in.",
        "decoder.estimator.time_embed.time_mlp.2.": "estimator.time_out.",
        "decoder.estimator.input_embed.proj.": "estimator.proj.",
        "decoder.estimator.input_embed.conv_pos_embed.conv1.0.": "estimator.conv1.",
        "decoder.estimator.input_embed.conv_pos_embed.conv2.0.": "estimator.conv2.",
        "decoder.estimator.norm_out.linear.": "estimator.modulation.",
        "decoder.estimator.proj_out.": "estimator.out.",
        "decoder.estimator.transformer_blocks.": "estimator.blocks.",
        "attn_norm.linear.": "modulation.",
        "attn.to_out.0.": "attention.out.",
        "ff.ff.0.0.": "wide.",
        "ff.ff.2.": "narrow.",
    }
    out = {}
    for name, value in state.items():
        if name.endswith("rotary_embed.inv_freq"):
            continue  # follows from the size of a head
        for old, new in plain.items():
            name = name.replace(old, new)
        out[name] = value
    for query in [name for name in out if ".attn.to_q." in name]:
        parts = [query.replace(".to_q.", f".to_{p}.") for p in "qkv"]
        if all(part in out for part in parts):
            whole = torch.cat([out.pop(part) for part in parts])
            out[query.replace("attn.to_q", "attention.qkv")] = whole
    return out
