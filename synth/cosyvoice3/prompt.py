"""What the model needs to know of a recording, and a memory of it.

Speech tokens, mel and the speaker's embedding, by the two ONNX networks of the model folder. The
same recording is analysed once: features are kept in memory by its hash, and a caller who keeps
them elsewhere asks for what is fresh and brings it again. Knows no text and no request.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
)
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from . import features
from .dims import FRAMES_PER_TOKEN, MEL_BINS, SAMPLE_RATE, SPEECH_CODES
from .errors import BadModel, Refused
from .recording import Recording

KEPT = 256
_NO_NETWORK = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile)


@dataclass(frozen=True, eq=False)
class Prompt:
    """``tokens`` (n,) int64, ``mel`` (2n, 80) float32, ``speaker`` (192,) float32, on the CPU."""

    tokens: Tensor
    mel: Tensor
    speaker: Tensor

    def to_bytes(self) -> bytes:
        """For a store."""
        return save({"tokens": self.tokens, "mel": self.mel, "speaker": self.speaker})

    @classmethod
    def from_bytes(cls, data: bytes) -> Prompt:
        """ValueError for bytes that are no features."""
        try:
            held = load(data)
            prompt = cls(held["tokens"], held["mel"], held["speaker"])
        except (SafetensorError, KeyError) as err:
            raise ValueError("these bytes are no prompt features") from err
        if prompt.mel.shape != (FRAMES_PER_TOKEN * len(prompt.tokens), MEL_BINS):
            raise ValueError("these features do not fit together")
        return prompt


class PromptEncoder:
    """Recordings to features, each recording once."""

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        paths = folder / "campplus.onnx", folder / "speech_tokenizer_v3.onnx"
        self._campplus, self._tokenizer = (_session(path) for path in paths)
        self.digest = hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()[:16]
        self._kept = kept
        self._memory: OrderedDict[str, Prompt] = OrderedDict()
        self._fresh: set[str] = set()
        self._lock = Lock()
        self.computed = 0

    def encode(self, recording: Recording) -> Prompt:
        """Features of a recording; Refused if it is out of bounds or holds no speech."""
        recording.check()
        key = self._key(recording)
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        prompt = self._compute(key, recording)
        self._put(key, prompt)
        return prompt

    def known(self, recording: Recording) -> bool:
        """Whether this process has the features."""
        with self._lock:
            return self._key(recording) in self._memory

    def remember(self, recording: Recording, data: bytes) -> None:
        """Take features that somebody kept; bytes that are none are passed over."""
        try:
            prompt = Prompt.from_bytes(data)
        except ValueError:
            return
        self._put(self._key(recording), prompt)

    def fresh(self, recording: Recording) -> bytes | None:
        """Features that were computed here and not yet asked for, to be kept by the caller."""
        key = self._key(recording)
        with self._lock:
            prompt = self._memory.get(key) if key in self._fresh else None
            self._fresh.discard(key)
        return prompt.to_bytes() if prompt else None

    def _key(self, recording: Recording) -> str:
        return f"{self.digest}-{recording.key}"

    def _put(self, key: str, prompt: Prompt) -> None:
        with self._lock:
            self._memory[key] = prompt
            self._memory.move_to_end(key)
            while len(self._memory) > self._kept:
                self._fresh.discard(self._memory.popitem(last=False)[0])

    def _compute(self, key: str, recording: Recording) -> Prompt:
        low = torch.from_numpy(recording.at(features.LOW_RATE))
        tokens = self._speech_tokens(low)
        mel = features.prompt_mel(torch.from_numpy(recording.at(SAMPLE_RATE)))
        count = min(len(mel) // FRAMES_PER_TOKEN, len(tokens))
        if not count:
            raise Refused("prompt_unusable", "the recording holds no speech tokens")
        mel = mel[: count * FRAMES_PER_TOKEN].contiguous()
        prompt = Prompt(tokens[:count].contiguous(), mel, self._speaker(low))
        self.computed += 1
        self._fresh.add(key)
        return prompt

    def _speech_tokens(self, low: Tensor) -> Tensor:
        mel = features.whisper_mel(low)
        values = mel[None].numpy(), np.array([mel.shape[1]], np.int32)
        ids = torch.from_numpy(_run(self._tokenizer, *values)).flatten().long()
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < SPEECH_CODES:
            raise BadModel("the speech tokenizer gives ids beyond 6560")
        return ids

    def _speaker(self, low: Tensor) -> Tensor:
        bank = features.speaker_bank(low)
        return torch.from_numpy(_run(self._campplus, bank[None].numpy())).flatten().float()


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # many recordings at once use the cores better than one
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _NO_NETWORK as err:
        raise BadModel(f"{path.name} cannot be opened: {type(err).__name__}") from err


def _run(session: onnxruntime.InferenceSession, *values: np.ndarray) -> np.ndarray:
    names = [node.name for node in session.get_inputs()]
    return np.asarray(session.run(None, dict(zip(names, values, strict=True)))[0])
