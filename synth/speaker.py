"""Who is speaking: an embedding of a voice, by which voices are compared.

Knows Resemblyzer's network (three LSTM layers over 40 mel bands) and reads its weights as tensors;
nothing of the package itself is run. Refuses to know which voices there are to choose from.
"""

from __future__ import annotations

import io
import threading

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synth.voice import Samples

RATE = 16_000
SIZE = 256
_BANDS, _WINDOW, _HOP = 40, 400, 160
_FRAMES = 160
"""Frames of one partial utterance: 1.6 s. Partials start 0.77 s apart."""
_STEP = 77
_LEVEL = 0.1
"""Root mean square that recordings are brought to: that of speech close to a microphone."""
_GATE, _NEAR = 0.02, 12
"""Frames below this share of the mean energy are left out unless a louder one is this near."""


class Encoder(nn.Module):
    """Samples in, unit vectors of `SIZE` out; the cosine of two says how alike the voices are."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_BANDS, SIZE, 3, batch_first=True)
        self.linear = nn.Linear(SIZE, SIZE)
        self._filters = torch.from_numpy(mel_filters())
        self._lock = threading.Lock()

    @classmethod
    def load(cls, weights: bytes) -> Encoder:
        """The encoder of these weights; they are read as tensors and never unpickled otherwise."""
        checkpoint = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
        encoder = cls()
        state = checkpoint["model_state"]
        # The two left out scale the similarity in training and do nothing here.
        encoder.load_state_dict({k: v for k, v in state.items() if not k.startswith("similarity")})
        return encoder.eval()

    def embed(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        """The voice in `samples` (mono, `rate` Hz) as a unit vector of shape (256,)."""
        sound = soxr.resample(samples, rate, RATE) if rate != RATE else samples
        with self._lock, torch.inference_mode():
            partials = self(self._partials(torch.from_numpy(_levelled(sound))))
            mean = partials.mean(dim=0)
            unit: NDArray[np.float32] = (mean / mean.norm().clamp(min=1e-9)).numpy()
        return unit

    def forward(self, mels: Tensor) -> Tensor:
        """Unit vectors (n, 256) of spectrograms (n, frames, 40)."""
        _, (hidden, _) = self.lstm(mels)
        raw = torch.relu(self.linear(hidden[-1]))
        norms: Tensor = raw.norm(dim=1, keepdim=True).clamp(min=1e-9)
        return raw / norms

    def _partials(self, sound: Tensor) -> Tensor:
        """Spectrogram of the spoken frames, cut into overlapping stretches (n, 160, 40)."""
        window = torch.hann_window(_WINDOW)
        spectrum = torch.stft(
            sound, _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True
        )
        mels = (self._filters @ spectrum.abs().square()).T
        energy = mels.sum(dim=1)
        spoken = (energy > _GATE * energy.mean()).float()
        mels = mels[nn.functional.max_pool1d(spoken[None], 2 * _NEAR + 1, 1, _NEAR)[0] > 0]
        if len(mels) < _FRAMES:
            mels = nn.functional.pad(mels, (0, 0, 0, _FRAMES - len(mels)))
        return mels.unfold(0, _FRAMES, _STEP).transpose(1, 2).contiguous()


def _levelled(sound: Samples) -> Samples:
    """At the level that the network knows; contiguous float32."""
    level = float(np.sqrt(np.mean(np.square(sound)))) if len(sound) else 0.0
    return np.ascontiguousarray(sound * (_LEVEL / max(level, 1e-5)), dtype=np.float32)


def mel_filters() -> NDArray[np.float32]:
    """Triangular filters on Slaney's mel scale, each of area one: shape (40, 201), 0 to 8 kHz."""
    edges = _hertz(np.linspace(0, _mel(RATE / 2), _BANDS + 2))
    bins = np.linspace(0, RATE / 2, _WINDOW // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


_KNEE, _PER_MEL, _STRETCH = 1000.0, 200 / 3, float(np.log(6.4) / 27)


def _mel(hertz: float) -> float:
    """Linear up to 1 kHz, logarithmic above."""
    if hertz < _KNEE:
        return hertz / _PER_MEL
    return _KNEE / _PER_MEL + float(np.log(hertz / _KNEE)) / _STRETCH


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE / _PER_MEL
    above = _KNEE * np.exp(_STRETCH * np.maximum(mels - knee, 0))
    return np.where(mels < knee, mels * _PER_MEL, above)
