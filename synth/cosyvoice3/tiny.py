"""A model of the released layout, small and random: it speaks noise, in seconds, on any CPU.

Every path of the engine runs with it, from tokenizer to vocoder. Knows the layout; refuses to
know the engine.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from . import layout, marks, onnx_file
from .dims import FlowDims, HiFTDims, LMDims
from .onnx_file import FLOAT, INT32, Node
from .tokenizer import CONTROL, byte_letters

LM = LMDims(vocab=640, width=32, layers=2, heads=2, kv_heads=1, inner=64, speech_rows=6761)
FLOW = FlowDims(width=32, depth=2, heads=2, head=16, inner=64, look_channels=16)
HIFT = HiFTDims(16, 8, (8, 5, 3), (16, 11, 7), (3, 7, 11), (7, 7, 11))
MERGES = ("Ġ t", "h e", "Ġt he", "i n", "o u", "ä ½", "å ¥")


def write(folder: Path, seed: int = 0) -> None:
    """Write the whole folder (about 4 MB); files that are there are overwritten."""
    text = folder / "CosyVoice-BlankEN"
    text.mkdir(parents=True, exist_ok=True)
    shapes = {"llm": layout.llm(LM), "flow": layout.flow(FLOW), "hift": layout.hift(HIFT)}
    for i, (name, network) in enumerate(shapes.items()):
        torch.save(layout.random(network, seed + i), folder / f"{name}.pt")
    chance = np.random.default_rng(seed)
    (folder / "campplus.onnx").write_bytes(_campplus(chance))
    (folder / "speech_tokenizer_v3.onnx").write_bytes(_speech_tokenizer(chance))
    _write_tokenizer(text)


def _write_tokenizer(folder: Path) -> None:
    words = [letter for letter, _ in sorted(byte_letters().items(), key=lambda item: item[1])]
    words += [merge.replace(" ", "") for merge in MERGES]
    vocabulary = {word: i for i, word in enumerate(words)}
    added = {len(words) + i: {"content": c, "special": True} for i, c in enumerate(CONTROL)}
    assert len(words) + len(CONTROL) + len(marks.VOCABULARY) <= LM.vocab
    config = {
        "hidden_size": LM.width,
        "num_hidden_layers": LM.layers,
        "num_attention_heads": LM.heads,
        "num_key_value_heads": LM.kv_heads,
        "intermediate_size": LM.inner,
        "vocab_size": LM.vocab,
        "rope_theta": LM.rope_theta,
        "rms_norm_eps": LM.eps,
    }
    files = {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "\n".join(MERGES) + "\n",
        "tokenizer_config.json": json.dumps({"added_tokens_decoder": added}),
        "config.json": json.dumps(config),
    }
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")


def _campplus(chance: np.random.Generator) -> bytes:
    """Filter bank (1, frames, 80) to embedding (1, 192)."""
    weight = chance.standard_normal((80, 192)).astype(np.float32)
    nodes = [
        Node("Abs", ["input"], ["size"]),
        Node("ReduceMean", ["size"], ["mean"], {"axes": [1], "keepdims": 0}),
        Node("MatMul", ["mean", "weight"], ["output"]),
    ]
    inputs = {"input": (FLOAT, (1, "frames", 80))}
    return onnx_file.model(nodes, {"weight": weight}, inputs, {"output": (FLOAT, (1, 192))})


def _speech_tokenizer(chance: np.random.Generator) -> bytes:
    """Log mel (1, 128, frames) to ids (1, frames / 4): eight ternary digits make one of 6561."""
    constants: dict[str, onnx_file.Array] = {
        "weight": chance.standard_normal((8, 128, 4)).astype(np.float32) * np.float32(0.1),
        "one": np.ones(1, np.float32),
        "digits": (3.0 ** np.arange(8)).astype(np.float32).reshape(1, 8, 1),
        "axes": np.array([1], np.int64),
    }
    nodes = [
        Node("Conv", ["feats", "weight"], ["thin"], {"strides": [4], "kernel_shape": [4]}),
        Node("Tanh", ["thin"], ["bounded"]),
        Node("Round", ["bounded"], ["ternary"]),
        Node("Add", ["ternary", "one"], ["natural"]),
        Node("Mul", ["natural", "digits"], ["placed"]),
        Node("ReduceSum", ["placed", "axes"], ["sum"], {"keepdims": 0}),
        Node("Cast", ["sum"], ["indices"], {"to": INT32}),
    ]
    inputs = {"feats": (FLOAT, (1, 128, "frames")), "feats_length": (INT32, (1,))}
    return onnx_file.model(nodes, constants, inputs, {"indices": (INT32, (1, "tokens"))})
