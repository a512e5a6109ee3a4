"""What a sound is recognised by after it was cut, encoded again or recorded from a loudspeaker.

Knows 32 bits for each 46 ms: whether the energy differs more between two neighbouring bands than it
did just before. Coding, loudness and noise change few of them. Refuses to know whose sound it is.
Source: Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002, with longer
steps: what is asked for is taken at several phases, so what is kept can be small.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

Prints = NDArray[np.uint32]
"""Shape (steps,): a word of 32 bits for each step."""

_RATE = 5_512  # Hz; nothing above 2 kHz is looked at, as narrow telephony keeps it
_FRAME = 2_048  # samples, 0.37 s: what is cut at another place still shares most of a frame
_STEP = 256  # samples, 46 ms
_PHASES = 8  # of a step, on the side that asks
_EDGES = np.geomspace(300.0, 2_000.0, 34)  # Hz, of 33 bands
ALIKE = 0.32
"""Share of differing bits below which two sounds are one (`benchmarks/tracing` has both sides)."""
_SHORTEST = 43
"""Steps that have to lie over each other, two seconds: fewer are alike by chance."""

_WINDOW = np.hanning(_FRAME)
_BINS = np.round(_EDGES * _FRAME / _RATE).astype(int)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much of two sounds is the same."""

    errors: float
    """Share of the bits that differ where they lie best over each other; chance is a half."""
    seconds: float
    """How long they lie over each other there."""

    @property
    def same(self) -> bool:
        """Whether one was made from the other."""
        return self.errors < ALIKE


def take(samples: NDArray[np.float32], rate: int) -> str:
    """The fingerprint of mono `samples`, shape (n,), as base64: 115 characters a second.

    Empty where they are shorter than 0.42 s.
    """
    return base64.b64encode(_bits(_narrow(samples, rate)).astype("<u4").tobytes()).decode()


class Asked:
    """A sound that is looked for."""

    def __init__(self, samples: NDArray[np.float32], rate: int) -> None:
        """Mono `samples`, shape (n,), at `rate` Hz."""
        narrow, shift = _narrow(samples, rate), _STEP // _PHASES
        phases = [_bits(narrow[shift * phase :]) for phase in range(_PHASES)]
        self._steps = len(phases[-1])  # the others may have one more
        self._phases = np.stack([_signs(each[: self._steps]) for each in phases])
        self._spectra: dict[int, NDArray[np.complex128]] = {}

    @property
    def long_enough(self) -> bool:
        """Whether anything can be said of it."""
        return self._steps >= _SHORTEST

    def like(self, fingerprint: str) -> Likeness:
        """How alike it is to the sound of `fingerprint`; errors are 1 where either is too short.

        Every way of laying one over the other is tried at once: where bits are ±1, a correlation
        counts those that agree.
        """
        kept = _signs(np.frombuffer(base64.b64decode(fingerprint), "<u4"))
        overlap = _overlaps(self._steps, kept.shape[1])
        enough = overlap >= _SHORTEST
        if not enough.any():
            return Likeness(1.0, 0.0)
        size = len(overlap)
        spectrum = np.fft.rfft(kept, size).conj()
        agree = np.fft.irfft((self._spectrum(size) * spectrum).sum(axis=1), size)
        errors = (1 - agree[:, enough] / (32 * overlap[enough])) / 2
        phase, lag = np.unravel_index(errors.argmin(), errors.shape)
        seconds = float(overlap[enough][lag]) * _STEP / _RATE
        return Likeness(max(0.0, float(errors[phase, lag])), seconds)

    def _spectrum(self, size: int) -> NDArray[np.complex128]:
        if size not in self._spectra:
            self._spectra[size] = np.fft.rfft(self._phases, size)
        return self._spectra[size]


def _narrow(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    narrow: NDArray[np.float32] = soxr.resample(samples, rate, _RATE).astype(np.float32)
    return narrow


def _bits(samples: NDArray[np.float32]) -> Prints:
    if len(samples) < _FRAME + _STEP:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_STEP]
    power = np.square(np.abs(np.fft.rfft(frames * _WINDOW, axis=1)))
    energy = np.add.reduceat(power[:, : _BINS[-1]], _BINS[:-1], axis=1)
    across = energy[:, :-1] - energy[:, 1:]
    set_ = across[1:] > across[:-1]
    return np.packbits(set_, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)


def _signs(prints: Prints) -> NDArray[np.float64]:
    """Shape (32, steps): 1 for a bit that is set, -1 for another, 0 in silence, which is any's."""
    octets = prints.astype("<u4").view(np.uint8).reshape(-1, 4)
    bits = np.unpackbits(octets, axis=1, bitorder="little").T
    return np.where(prints == 0, 0.0, np.where(bits, 1.0, -1.0))


def _overlaps(asked: int, kept: int) -> NDArray[np.int64]:
    """By how many steps `kept` is shifted along `asked`, how many lie over each other.

    In the order of a circular correlation, whose length is a power of two that wraps nothing.
    """
    size = 1 << (asked + kept).bit_length()
    lags = np.fft.fftfreq(size, 1 / size).astype(np.int64)
    over = np.minimum(asked - np.maximum(lags, 0), kept - np.maximum(-lags, 0))
    return np.asarray(np.maximum(over, 0), np.int64)
