"""The released files tensor by tensor: every name and shape, for any sizes.

Writes nothing and reads nothing. Whoever makes a model of this layout, or says what a folder
lacks, takes the names from here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .dims import MEL_BINS, FlowDims, HiFTDims, LMDims

Shape = tuple[int, ...]

RELEASED_LM = LMDims(151_936, 896, 24, 14, 2, 4864, 6761)
RELEASED_FLOW = FlowDims(1024, 22, 16, 64, 2048, 1024)
RELEASED_HIFT = HiFTDims(512, 512, (8, 5, 3), (16, 11, 7), (3, 7, 11), (7, 7, 11))


def llm(dims: LMDims) -> dict[str, Shape]:
    """``llm.pt``."""
    d, kv, root = dims.width, dims.kv_heads * dims.head, "llm.model.model."
    out: dict[str, Shape] = {
        root + "embed_tokens.weight": (dims.vocab, d),
        root + "norm.weight": (d,),
        "llm.model.lm_head.weight": (dims.vocab, d),
        "llm_decoder.weight": (dims.speech_rows, d),
        "speech_embedding.weight": (dims.speech_rows, d),
    }
    for i in range(dims.layers):
        layer = f"{root}layers.{i}."
        for name, rows in (("q", d), ("k", kv), ("v", kv)):
            out[f"{layer}self_attn.{name}_proj.weight"] = (rows, d)
            out[f"{layer}self_attn.{name}_proj.bias"] = (rows,)
        out[layer + "self_attn.o_proj.weight"] = (d, d)
        out[layer + "mlp.gate_proj.weight"] = (dims.inner, d)
        out[layer + "mlp.up_proj.weight"] = (dims.inner, d)
        out[layer + "mlp.down_proj.weight"] = (d, dims.inner)
        out[layer + "input_layernorm.weight"] = (d,)
        out[layer + "post_attention_layernorm.weight"] = (d,)
    return out


def flow(dims: FlowDims) -> dict[str, Shape]:
    """``flow.pt``."""
    d, wide, root = dims.width, dims.heads * dims.head, "decoder.estimator."
    conv = (d, d // dims.conv_groups, dims.conv_kernel)
    out: dict[str, Shape] = {"input_embedding.weight": (dims.codes, MEL_BINS)}
    out[root + "rotary_embed.inv_freq"] = (dims.head // 2,)
    out |= _biased("spk_embed_affine_layer", (MEL_BINS, dims.speaker))
    out |= _biased("pre_lookahead_layer.conv1", (dims.look_channels, MEL_BINS, dims.look_ahead + 1))
    out |= _biased("pre_lookahead_layer.conv2", (MEL_BINS, dims.look_channels, 3))
    out |= _biased(root + "time_embed.time_mlp.0", (d, dims.time_width))
    out |= _biased(root + "time_embed.time_mlp.2", (d, d))
    out |= _biased(root + "input_embed.proj", (d, 4 * MEL_BINS))
    out |= _biased(root + "input_embed.conv_pos_embed.conv1.0", conv)
    out |= _biased(root + "input_embed.conv_pos_embed.conv2.0", conv)
    out |= _biased(root + "norm_out.linear", (2 * d, d))
    out |= _biased(root + "proj_out", (MEL_BINS, d))
    for i in range(dims.depth):
        block = f"{root}transformer_blocks.{i}."
        out |= _biased(block + "attn_norm.linear", (6 * d, d))
        for name in ("to_q", "to_k", "to_v"):
            out |= _biased(f"{block}attn.{name}", (wide, d))
        out |= _biased(block + "attn.to_out.0", (d, wide))
        out |= _biased(block + "ff.ff.0.0", (dims.inner, d))
        out |= _biased(block + "ff.ff.2", (d, dims.inner))
    return out


def hift(dims: HiFTDims) -> dict[str, Shape]:
    """``hift.pt``, with weight norm as it is stored."""
    sizes = [dims.base // 2**i for i in range(len(dims.rates) + 1)]
    out = _biased("m_source.l_linear", (1, dims.harmonics))
    out |= _normed("conv_pre", (dims.base, MEL_BINS, dims.look_ahead + 1))
    out |= _normed("conv_post", (dims.n_fft + 2, sizes[-1], 7))
    out |= _biased("f0_predictor.classifier", (1, dims.f0_channels))
    for i in range(5):
        shape = (dims.f0_channels, dims.f0_channels if i else MEL_BINS, 3 if i else 4)
        out |= _normed(f"f0_predictor.condnet.{2 * i}", shape)
    for i, size in enumerate(sizes[1:]):
        stride = dims.strides[i]
        out |= _normed(f"ups.{i}", (size, sizes[i], dims.up_kernels[i]))
        thin = (size, dims.n_fft + 2, 1 if stride == 1 else 2 * stride)
        out |= _biased(f"source_downs.{i}", thin)
        out |= _res(f"source_resblocks.{i}", size, dims.source_kernels[i], dims)
        for j, kernel in enumerate(dims.block_kernels):
            out |= _res(f"resblocks.{i * len(dims.block_kernels) + j}", size, kernel, dims)
    return out


def random(shapes: dict[str, Shape], seed: int) -> dict[str, Tensor]:
    """Weights of these shapes that neither die out nor blow up, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _fill(name, shape, generator) for name, shape in shapes.items()}


def _fill(name: str, shape: Shape, generator: torch.Generator) -> Tensor:
    if name.endswith("inv_freq"):
        half = shape[0]
        return 1.0 / 10_000 ** (torch.arange(half).float() / half)
    if "layernorm" in name or name.endswith(("norm.weight", "alpha", "original0")):
        return torch.ones(shape)
    if "embed" in name and len(shape) == 2 and name.endswith(("ding.weight", "tokens.weight")):
        return torch.randn(shape, generator=generator)
    inputs = 1
    for size in shape[1:]:
        inputs *= size
    return torch.randn(shape, generator=generator) * (inputs**-0.5 if len(shape) > 1 else 0.02)


def _biased(name: str, shape: Shape) -> dict[str, Shape]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _normed(name: str, shape: Shape) -> dict[str, Shape]:
    scale = (shape[0], *(1 for _ in shape[1:]))
    stem = f"{name}.parametrizations.weight.original"
    return {f"{stem}0": scale, f"{stem}1": shape, f"{name}.bias": shape[:1]}


def _res(name: str, size: int, kernel: int, dims: HiFTDims) -> dict[str, Shape]:
    out: dict[str, Shape] = {}
    for i in range(len(dims.dilations)):
        for n in "12":
            out |= _normed(f"{name}.convs{n}.{i}", (size, size, kernel))
            out[f"{name}.activations{n}.{i}.alpha"] = (size,)
    return out
