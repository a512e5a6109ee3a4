"""How an engine is to run: device, precision, memory, shapes. Read once, when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .device import free_bytes
from .errors import BadModel

CPU_BYTES = 4 << 30
SHARE_OF_GPU = 0.9


@dataclass(frozen=True)
class Settings:
    """``None`` lets the device decide.

    ``deterministic`` fixes every shape: a request's sound is then the same to the byte whoever
    else is served, at the price of speaking one row at a time. ``length`` is the longest prompt
    plus speech of one piece, in positions of the language model; ``frames`` bounds a batch of
    speech, and so how long a first sound may have to wait for the batch before it.
    """

    device: str | None = None
    precision: str = "float32"
    slots: int | None = None
    length: int = 3072
    memory: int | None = None
    burst: int | None = None
    admit: int | None = None
    frames: int | None = None
    deterministic: bool = False

    def torch_device(self) -> torch.device:
        """The device asked for, else a GPU if there is one, else the CPU."""
        name = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise BadModel("device cuda was asked for, and there is none")
        return device

    def bytes_free(self, device: torch.device) -> int:
        """Bytes for cache and batches, told after the weights are loaded."""
        if self.memory is not None:
            return self.memory
        if device.type == "cuda":
            return int(free_bytes(device) * SHARE_OF_GPU)
        return CPU_BYTES

    def slots_on(self, device: torch.device) -> int:
        """Rows of the cache at most: a CPU gains little from more."""
        return self.slots or (128 if device.type == "cuda" else 8)

    def admit_on(self, device: torch.device) -> int:
        """Prompts of one step."""
        if self.deterministic:
            return 1
        return self.admit or (32 if device.type == "cuda" else 8)

    def frames_on(self, device: torch.device) -> int | None:
        """Mel frames of a batch at most; None leaves it to memory. More fill no GPU better."""
        return self.frames or (8192 if device.type == "cuda" else None)

    def burst_on(self, device: torch.device) -> int:
        """Tokens between two looks at the device: on a CPU looking costs nothing."""
        return self.burst or (8 if device.type == "cuda" else 2)
