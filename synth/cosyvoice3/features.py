"""What the networks hear of a recording: three spectrograms, each as it was trained.

Mel of 24 kHz for the flow, Whisper's log mel of 16 kHz for the speech tokenizer, Kaldi's filter
bank of 16 kHz for the speaker's embedding. Plain arithmetic on tensors: knows no files, no models.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .dims import MEL_BINS, SAMPLE_RATE, SAMPLES_PER_FRAME

LOW_RATE = 16_000
WHISPER_BINS = 128


def prompt_mel(wave: Tensor) -> Tensor:
    """Natural-log mel (frames, 80) of 24 kHz sound (samples,), 50 frames a second."""
    n_fft = 1920
    pad = (n_fft - SAMPLES_PER_FRAME) // 2
    padded = F.pad(wave[None], (pad, pad), mode="reflect")[0]
    spectrum = _stft(padded, n_fft, SAMPLES_PER_FRAME, center=False)
    size = (spectrum.real.pow(2) + spectrum.imag.pow(2) + 1e-9).sqrt()
    mel = slaney(SAMPLE_RATE, n_fft, MEL_BINS) @ size
    return mel.clamp_min(1e-5).log().T.contiguous()


def whisper_mel(wave: Tensor) -> Tensor:
    """Whisper's log mel (128, frames) of 16 kHz sound, 100 frames a second."""
    n_fft = 400
    power = _stft(wave, n_fft, 160, center=True)[:, :-1].abs().square()
    mel = (slaney(LOW_RATE, n_fft, WHISPER_BINS) @ power).clamp_min(1e-10).log10()
    return (torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0


def speaker_bank(wave: Tensor) -> Tensor:
    """Kaldi's filter bank (frames, 80) of 16 kHz sound, no dither, its mean removed."""
    size, hop, n_fft = 400, 160, 512
    frames = wave.unfold(0, size, hop)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat((frames[:, :1], frames[:, :-1]), 1)
    frames = (frames - 0.97 * before) * torch.hann_window(size, periodic=False).pow(0.85)
    power = torch.fft.rfft(frames, n_fft).abs().square()
    smallest = torch.finfo(torch.float32).eps
    bank: Tensor = (power[:, : n_fft // 2] @ kaldi(n_fft)).clamp_min(smallest).log()
    return bank - bank.mean(0, keepdim=True)


def _stft(wave: Tensor, n_fft: int, hop: int, *, center: bool) -> Tensor:
    window = torch.hann_window(n_fft)
    return torch.stft(wave, n_fft, hop, window=window, center=center, return_complex=True)


@lru_cache
def slaney(rate: int, n_fft: int, bins: int) -> Tensor:
    """Triangles of equal area on Slaney's mel scale from 0 to half the rate: (bins, n_fft/2+1)."""
    edges = _slaney_to_hertz(np.linspace(0.0, _slaney_mel(rate / 2), bins + 2))
    at = np.linspace(0.0, rate / 2, n_fft // 2 + 1)
    ramps = edges[:, None] - at[None]
    widths = np.diff(edges)[:, None]
    shape = np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]).clip(min=0)
    area = 2.0 / (edges[2:] - edges[:-2])
    return torch.from_numpy((shape * area[:, None]).astype(np.float32))


def _slaney_mel(hertz: float) -> float:
    """Linear up to 1 kHz (15 mels), logarithmic above it (27 mels for each factor of 6.4)."""
    if hertz < 1000.0:
        return hertz * 3 / 200
    return 15.0 + 27.0 * float(np.log(hertz / 1000.0) / np.log(6.4))


def _slaney_to_hertz(
    mel: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


@lru_cache
def kaldi(n_fft: int, low: float = 20.0) -> Tensor:
    """Kaldi's triangles, straight on the mel scale, from ``low`` hertz: (n_fft/2, 80)."""
    edges = torch.linspace(_mel(low), _mel(LOW_RATE / 2), MEL_BINS + 2)
    at = 1127.0 * (1.0 + torch.arange(n_fft // 2) * (LOW_RATE / n_fft) / 700.0).log()
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (at[:, None] - left) / (centre - left)
    falling = (right - at[:, None]) / (right - centre)
    return torch.minimum(rising, falling).clamp_min(0)


def _mel(hertz: float) -> float:
    return 1127.0 * float(np.log(1.0 + hertz / 700.0))
