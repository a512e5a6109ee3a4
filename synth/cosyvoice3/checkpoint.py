"""Weights from disk into networks: strictly, and without ever running what a file contains.

Knows which files of a model folder hold what, in either format, and says in words what does not
fit. Knows nothing of what the networks compute.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from . import flow, hift, lm
from .dims import FlowDims, HiFTDims, LMDims
from .errors import BadModel

NETWORKS = ("llm", "flow", "hift")
SUFFIXES = (".safetensors", ".pt")
T = TypeVar("T")
CONFIGS = ("CosyVoice-BlankEN/config.json", "config.json")


@dataclass(frozen=True)
class Precision:
    """The dtype of the language model and the flow; the vocoder is always float32."""

    name: str

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype of that name; BadModel for any other name."""
        known = {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
        }
        if self.name not in known:
            raise BadModel(f"precision must be one of {', '.join(known)}, not {self.name}")
        return known[self.name]


@dataclass(frozen=True)
class Networks:
    """The three networks, on one device, in evaluation."""

    lm: lm.SpeechLM
    flow: flow.Flow
    hift: hift.HiFT


def weights_path(folder: Path, name: str) -> Path:
    """The file that holds a network's weights; safetensors where there are both."""
    for suffix in SUFFIXES:
        if (folder / (name + suffix)).is_file():
            return folder / (name + suffix)
    raise BadModel(f"{folder} has neither {name}.safetensors nor {name}.pt")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file by name. BadModel if it is no such file."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as err:
        raise BadModel(f"{path.name} cannot be read as weights: {err}") from err
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise BadModel(f"{path.name} holds something other than named tensors")
    return state


def load_exactly(network: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Fill a network; BadModel names what is missing, unknown or of another shape."""
    wanted = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in state.items()}
    faults = [f"lacks {k}" for k in sorted(wanted.keys() - found.keys())]
    faults += [f"has unknown {k}" for k in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{k} is {found[k]}, not {wanted[k]}"
        for k in sorted(wanted.keys() & found.keys())
        if wanted[k] != found[k]
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise BadModel(f"{what}: {'; '.join(faults[:5])}{more}")
    network.load_state_dict(state)


def read_config(folder: Path) -> dict[str, Any]:
    """The Qwen2 config of a model folder, or the ``llm`` part of a folder of golden vectors."""
    for name in CONFIGS:
        path = folder / name
        if path.is_file():
            try:
                config = json.loads(path.read_text("utf-8"))
            except ValueError as err:
                raise BadModel(f"{name} is not JSON: {err}") from err
            if not isinstance(config, dict):
                raise BadModel(f"{name} is not a JSON object")
            found: dict[str, Any] = config.get("llm", config)
            return found
    raise BadModel(f"{folder} has no {CONFIGS[0]}")


def load_lm(folder: Path, length: int) -> lm.SpeechLM:
    """The language model, with rotary tables for ``length`` positions."""
    state = read_weights(weights_path(folder, "llm"))
    network = sized(lambda: lm.SpeechLM(LMDims.of(state, read_config(folder)), length))
    load_exactly(network, lm.from_released(state), "llm")
    return network.eval()


def load_flow(folder: Path) -> flow.Flow:
    """The flow."""
    state = read_weights(weights_path(folder, "flow"))
    network = sized(lambda: flow.Flow(FlowDims.of(state)))
    load_exactly(network, flow.from_released(state), "flow")
    return network.eval()


def load_hift(folder: Path) -> hift.HiFT:
    """The vocoder."""
    state = hift.from_released(read_weights(weights_path(folder, "hift")))
    network = sized(lambda: hift.HiFT(HiFTDims.of(state)))
    load_exactly(network, state, "hift")
    return network.eval()


def load(folder: Path, precision: Precision, device: torch.device, length: int) -> Networks:
    """All three networks of a model folder, ready to run on ``device``."""
    refuse_older(folder)
    speech = load_lm(folder, length).to(device, precision.dtype)
    mel = placed(load_flow(folder), device, precision)
    return Networks(speech, mel, load_hift(folder).to(device))


def placed(network: flow.Flow, device: torch.device, precision: Precision) -> flow.Flow:
    """The flow on its device; the solver's state stays float32 in every precision."""
    noise = network.noise
    network = network.to(device, precision.dtype)
    network.noise = noise.to(device)
    return network


def refuse_older(folder: Path) -> None:
    """BadModel for the folder of another CosyVoice: alike by its names, another model inside."""
    v3 = (folder / "speech_tokenizer_v3.onnx").is_file()
    for version in ("v1", "v2"):
        if (folder / f"speech_tokenizer_{version}.onnx").is_file() and not v3:
            raise BadModel(
                f"{folder} holds a CosyVoice of another generation (speech_tokenizer_{version}):"
                " this engine reads CosyVoice3 (speech_tokenizer_v3.onnx)"
            )


def digest(folder: Path) -> str:
    """SHA-256 over the files that decide what is heard, by name and content."""
    total = hashlib.sha256()
    paths = [weights_path(folder, name) for name in NETWORKS]
    paths += [folder / "campplus.onnx", folder / "speech_tokenizer_v3.onnx"]
    for path in paths:
        if not path.is_file():
            raise BadModel(f"{folder} has no {path.name}")
        with path.open("rb") as file:
            total.update(
                f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()


def sized(build: Callable[[], T]) -> T:
    """What follows from sizes; such as contradict each other are the folder's fault."""
    try:
        return build()
    except (LookupError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as err:
        raise BadModel(f"the weights' shapes do not go together: {err}") from err
