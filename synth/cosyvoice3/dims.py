"""The sizes of the three networks, read from the weights themselves.

The released folder describes its networks in a file of executable YAML. Nothing of it is needed:
every size follows from the shape of some tensor, and the two numbers that do not (attention heads
of the language model, rotary base) stand in the JSON file beside the tokenizer. Knows no weights
beyond their shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .errors import BadModel

SPEECH_CODES = 6561
"""Speech tokens are 0..6560; every id from 6561 on is a control mark and ends an utterance."""
TOKEN_RATE = 25
"""Speech tokens per second."""
MEL_RATE = 50
"""Mel frames per second."""
SAMPLE_RATE = 24_000
"""Samples per second of everything the engine speaks."""
MEL_BINS = 80
FRAMES_PER_TOKEN = MEL_RATE // TOKEN_RATE
SAMPLES_PER_FRAME = SAMPLE_RATE // MEL_RATE
MAX_SECONDS = 300
"""The longest prompt plus output the flow has fixed noise for."""
LOOK_AHEAD_FRAMES = 8
"""Mel frames the vocoder needs to the right of a frame before its sound is final."""

Shapes = Mapping[str, Tensor]


@dataclass(frozen=True)
class LMDims:
    """Sizes of the language model; ``speech_rows`` counts speech tokens and control marks."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    speech_rows: int
    rope_theta: float = 1e6
    eps: float = 1e-6

    @property
    def head(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @classmethod
    def of(cls, weights: Shapes, config: Mapping[str, Any]) -> LMDims:
        """Sizes from ``llm.pt`` and the Qwen2 ``config.json`` beside the tokenizer."""
        prefix = "llm.model.model."
        text = _shape(weights, prefix + "embed_tokens.weight")
        rope = config.get("rope_parameters") or {}
        theta = config.get("rope_theta") or rope.get("rope_theta")
        if not theta:
            raise BadModel("the language model's config.json names no rope_theta")
        return cls(
            vocab=text[0],
            width=text[1],
            layers=_count(weights, prefix + "layers."),
            heads=_stated(config, "num_attention_heads"),
            kv_heads=_stated(config, "num_key_value_heads"),
            inner=_shape(weights, prefix + "layers.0.mlp.gate_proj.weight")[0],
            speech_rows=_shape(weights, "llm_decoder.weight")[0],
            rope_theta=float(theta),
            eps=float(config.get("rms_norm_eps", 1e-6)),
        )


@dataclass(frozen=True)
class FlowDims:
    """Sizes of the flow; ``chunk`` is the mel frames that attend together when streaming."""

    width: int
    depth: int
    heads: int
    head: int
    inner: int
    look_channels: int
    conv_kernel: int = 31
    conv_groups: int = 16
    look_ahead: int = 3
    codes: int = SPEECH_CODES
    speaker: int = 192
    time_width: int = 256
    steps: int = 10
    guidance: float = 0.7
    chunk: int = 50

    @classmethod
    def of(cls, weights: Shapes) -> FlowDims:
        """Sizes from ``flow.pt``."""
        root = "decoder.estimator."
        block = root + "transformer_blocks.0."
        conv = _shape(weights, root + "input_embed.conv_pos_embed.conv1.0.weight")
        look = _shape(weights, "pre_lookahead_layer.conv1.weight")
        head = 2 * _shape(weights, root + "rotary_embed.inv_freq")[0]
        return cls(
            width=conv[0],
            depth=_count(weights, root + "transformer_blocks."),
            heads=_shape(weights, block + "attn.to_q.weight")[0] // head,
            head=head,
            inner=_shape(weights, block + "ff.ff.0.0.weight")[0],
            look_channels=look[0],
            conv_kernel=conv[2],
            conv_groups=conv[0] // conv[1],
            look_ahead=look[2] - 1,
            codes=_shape(weights, "input_embedding.weight")[0],
            speaker=_shape(weights, "spk_embed_affine_layer.weight")[1],
            time_width=_shape(weights, root + "time_embed.time_mlp.0.weight")[1],
        )


@dataclass(frozen=True)
class HiFTDims:
    """Sizes of the vocoder; kernels and rates are listed from the coarsest level on."""

    base: int
    f0_channels: int
    rates: tuple[int, ...]
    up_kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    source_kernels: tuple[int, ...]
    n_fft: int = 16
    look_ahead: int = 4
    harmonics: int = 9
    dilations: tuple[int, ...] = (1, 3, 5)

    @property
    def hop(self) -> int:
        """Samples between frames of the inverse Fourier transform."""
        return self.n_fft // 4

    @property
    def strides(self) -> tuple[int, ...]:
        """How far the source is thinned out at each level."""
        return tuple(math.prod(self.rates[i + 1 :]) for i in range(len(self.rates)))

    @classmethod
    def of(cls, weights: Shapes) -> HiFTDims:
        """Sizes from ``hift.pt`` with its weight norm already folded away."""
        pre = _shape(weights, "conv_pre.weight")
        levels = _count(weights, "ups.")
        n_fft = _shape(weights, "conv_post.weight")[0] - 2
        downs = [_shape(weights, f"source_downs.{i}.weight")[2] for i in range(levels)]
        strides = [kernel // 2 or 1 for kernel in downs]
        first = SAMPLES_PER_FRAME // (n_fft // 4) // strides[0]
        later = [strides[i] // strides[i + 1] for i in range(levels - 1)]
        per_level = _count(weights, "resblocks.") // levels
        return cls(
            base=pre[0],
            f0_channels=_shape(weights, "f0_predictor.condnet.0.weight")[0],
            rates=(first, *later),
            up_kernels=_kernels(weights, "ups.{}.weight", levels),
            block_kernels=_kernels(weights, "resblocks.{}.convs1.0.weight", per_level),
            source_kernels=_kernels(weights, "source_resblocks.{}.convs1.0.weight", levels),
            n_fft=n_fft,
            look_ahead=pre[2] - 1,
            harmonics=_shape(weights, "m_source.l_linear.weight")[1],
        )


def _shape(weights: Shapes, name: str) -> tuple[int, ...]:
    if name not in weights:
        raise BadModel(f"the weights lack {name}: these are not CosyVoice3's")
    return tuple(weights[name].shape)


def _stated(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        raise BadModel(f"the language model's config.json names no {name}")
    return value


def _count(weights: Shapes, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})


def _kernels(weights: Shapes, pattern: str, count: int) -> tuple[int, ...]:
    return tuple(_shape(weights, pattern.format(i))[2] for i in range(count))
