"""Whisper weights in CTranslate2's container, read as arrays under openai-whisper's names.

Knows the byte layout and the one-to-one names. Refuses to unpickle, to download and to guess: what
it does not know how to place is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import whisper

_FLOAT16 = 4
_HEAD_WIDTH = 64
"""Every size of Whisper has attention heads this wide."""

_NORM = {"gamma": "weight", "beta": "bias"}
_NOT_WEIGHTS = frozenset(
    f"decoder/{name}"
    for name in (
        "activation",
        "alibi",
        "alignment_heads",
        "alignment_layer",
        "num_heads",
        "pre_norm",
        "scale_embeddings",
        "start_from_zero_embedding",
    )
) | frozenset(f"encoder/{name}" for name in ("activation", "alibi", "num_heads", "pre_norm"))

Arrays = dict[str, np.ndarray[Any, np.dtype[np.float16]]]
State = dict[str, torch.Tensor]


class LayoutError(ValueError):
    """The bytes are not Whisper weights in a layout we know."""


class _Reader:
    """A cursor over little-endian bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return int(value)

    def text(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode("ascii")

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise LayoutError("the file ends in the middle of a variable")
        piece = self._data[self._at : end]
        self._at = end
        return piece


def read_arrays(data: bytes) -> Arrays:
    """Every float16 variable of the file by its own name; `LayoutError` if it is something else."""
    try:
        return dict(_variables(_Reader(data)))
    except LayoutError:
        raise
    except (struct.error, ValueError) as broken:
        raise LayoutError(f"not a CTranslate2 model file: {broken}") from broken


def _variables(reader: _Reader) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float16]]]]:
    version, spec, _revision = reader.number("I"), reader.text(), reader.number("I")
    if spec != "WhisperSpec":
        raise LayoutError(f"version {version} of {spec!r} is not Whisper")
    for _ in range(reader.number("I")):
        name = reader.text()
        shape = [reader.number("I") for _ in range(reader.number("B"))]
        dtype, raw = reader.number("B"), reader.take(reader.number("I"))
        if name in _NOT_WEIGHTS:
            continue
        if dtype != _FLOAT16:
            raise LayoutError(f"{name} has type {dtype}, not float16")
        yield name, np.frombuffer(raw, dtype="<f2").reshape(shape)


def to_model(arrays: Arrays) -> whisper.Whisper:
    """An openai-whisper model on the CPU holding exactly `arrays` (strict load), in float32."""
    try:
        state = {key: value for name, array in arrays.items() for key, value in _place(name, array)}
    except KeyError as stranger:
        raise LayoutError(f"no place for a part called {stranger}") from stranger
    if "decoder.token_embedding.weight" not in state or "encoder.conv1.weight" not in state:
        raise LayoutError("embeddings or first convolution are missing")
    model = whisper.Whisper(_dimensions(state))
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as mismatch:
        raise LayoutError(f"the variables do not make a Whisper model: {mismatch}") from mismatch
    return model.eval()


def _place(
    name: str, array: np.ndarray[Any, np.dtype[np.float16]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Where one variable belongs in the state dict; stacked projections yield their parts."""
    tensor = torch.from_numpy(array.astype(np.float32))
    side, *path = name.split("/")
    leaf = path.pop() if path else ""
    if path and path[0].startswith("layer_") and path[0] != "layer_norm":
        block = f"{side}.blocks.{path[0].removeprefix('layer_')}"
        yield from _place_in_block(block, path[1:], leaf, tensor)
        return
    match path:
        case ["embeddings"]:
            yield f"{side}.token_embedding.weight", tensor
        case ["position_encodings"]:
            yield f"{side}.positional_embedding", tensor
        case ["layer_norm"]:
            yield f"{side}.{'ln_post' if side == 'encoder' else 'ln'}.{_NORM[leaf]}", tensor
        case ["conv1" | "conv2"]:
            yield f"{side}.{path[0]}.{leaf}", tensor
        case _:
            raise LayoutError(f"no place for {name}")


def _place_in_block(
    block: str, path: list[str], leaf: str, tensor: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    match path:
        case ["ffn", "layer_norm"]:
            yield f"{block}.mlp_ln.{_NORM[leaf]}", tensor
        case ["ffn", "linear_0" | "linear_1"]:
            yield f"{block}.mlp.{0 if path[1] == 'linear_0' else 2}.{leaf}", tensor
        case ["self_attention" | "attention", "layer_norm"]:
            yield f"{block}.{_attention(path[0])}_ln.{_NORM[leaf]}", tensor
        case ["self_attention" | "attention", linear]:
            names = _PROJECTIONS[path[0], linear]
            for part, piece in zip(names, tensor.chunk(len(names)), strict=True):
                # Whisper's keys have no bias; the container stores zeros in its place.
                if (part, leaf) != ("key", "bias"):
                    yield f"{block}.{_attention(path[0])}.{part}.{leaf}", piece
        case _:
            raise LayoutError(f"no place for {block}: {'/'.join([*path, leaf])}")


_PROJECTIONS = {
    ("self_attention", "linear_0"): ("query", "key", "value"),
    ("self_attention", "linear_1"): ("out",),
    ("attention", "linear_0"): ("query",),
    ("attention", "linear_1"): ("key", "value"),
    ("attention", "linear_2"): ("out",),
}


def _attention(name: str) -> str:
    return "attn" if name == "self_attention" else "cross_attn"


def _dimensions(state: State) -> whisper.ModelDimensions:
    vocabulary, text_width = state["decoder.token_embedding.weight"].shape
    audio_width, mels, _ = state["encoder.conv1.weight"].shape
    return whisper.ModelDimensions(
        n_mels=mels,
        n_audio_ctx=state["encoder.positional_embedding"].shape[0],
        n_audio_state=audio_width,
        n_audio_head=audio_width // _HEAD_WIDTH,
        n_audio_layer=_layers(state, "encoder"),
        n_vocab=vocabulary,
        n_text_ctx=state["decoder.positional_embedding"].shape[0],
        n_text_state=text_width,
        n_text_head=text_width // _HEAD_WIDTH,
        n_text_layer=_layers(state, "decoder"),
    )


def _layers(state: State, side: str) -> int:
    return sum(key.startswith(f"{side}.blocks.") and key.endswith(".mlp.0.bias") for key in state)
