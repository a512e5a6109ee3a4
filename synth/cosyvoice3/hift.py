"""The vocoder: mel in, 24 kHz sound out.

A harmonic source follows the pitch read from the mel, and a causal network shapes it into frames
of an inverse Fourier transform. Everything after a row's end is silence to the row, so rows may be
padded: each sample is what it would be alone. A row that is not final gives the same sound, only
without its last eight frames, which still depend on what follows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .device import upload
from .dims import LOOK_AHEAD_FRAMES, MEL_BINS, SAMPLE_RATE, SAMPLES_PER_FRAME, HiFTDims

SLOPE = 0.1
LIMIT = 0.99
VOICED_HZ = 10.0
TONE, BREATH = 0.1, 0.003
NOISE_SEED = 1986
NOISE_BLOCK = 5 * SAMPLE_RATE


class Noise:
    """The fixed noise of the source, (samples, harmonics), drawn in blocks as it is needed.

    It is part of no released file; the table only grows, so a sample's noise never changes.
    """

    def __init__(self, harmonics: int, table: Tensor | None = None) -> None:
        self.harmonics = harmonics
        self.table = torch.zeros(0, harmonics) if table is None else table

    def first(self, samples: int, device: torch.device) -> Tensor:
        """Noise of the first ``samples`` samples, on ``device``."""
        while len(self.table) < samples:
            block = len(self.table) // NOISE_BLOCK
            seeded = torch.Generator().manual_seed(NOISE_SEED + block)
            drawn = torch.rand(NOISE_BLOCK, self.harmonics, generator=seeded)
            self.table = torch.cat((self.table, drawn.to(self.table.device)))
        if self.table.device != device:
            self.table = self.table.to(device)
        return self.table[:samples]


class Snake(nn.Module):
    """x + sin²(αx)/α with an α per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[None, :, None]
        return x + (1.0 / (alpha + 1e-9)) * torch.sin(x * alpha).pow(2)


class ResBlock(nn.Module):
    """Pairs of causal convolutions, the first of each pair dilated."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d) for d in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for act1, conv1, act2, conv2 in pairs:
            x = x + causal(conv2, act2(causal(conv1, act1(x))))
        return x


class Pitch(nn.Module):
    """Mel to fundamental frequency in hertz, in float64: the source's phase sums it up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = [(MEL_BINS, 4)] + [(channels, 3)] * 4
        layers = [m for size, k in sizes for m in (nn.Conv1d(size, channels, k), nn.ELU())]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        first, *later = (m for m in self.condnet if isinstance(m, nn.Conv1d))
        x = F.elu(first(F.pad(mel, (0, first.kernel_size[0] - 1))))
        for conv in later:
            x = F.elu(causal(conv, x))
        pitch: Tensor = self.classifier(x.transpose(1, 2)).squeeze(-1)
        return pitch.abs()


class HiFT(nn.Module):
    """Mel to sound for a padded batch."""

    window: Tensor

    def __init__(self, dims: HiFTDims, noise: Noise | None = None) -> None:
        super().__init__()
        self.dims = dims
        self.noise = noise or Noise(dims.harmonics)
        self.f0_predictor = Pitch(dims.f0_channels).double()
        self.conv_pre = nn.Conv1d(MEL_BINS, dims.base, dims.look_ahead + 1)
        sizes = [dims.base // 2**i for i in range(len(dims.rates) + 1)]
        self.ups = nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], k) for i, k in enumerate(dims.up_kernels)
        )
        self.source_downs = nn.ModuleList(
            nn.Conv1d(dims.n_fft + 2, size, 1 if s == 1 else 2 * s, s)
            for size, s in zip(sizes[1:], dims.strides, strict=True)
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(size, k, dims.dilations)
            for size, k in zip(sizes[1:], dims.source_kernels, strict=True)
        )
        self.resblocks = nn.ModuleList(
            ResBlock(size, k, dims.dilations) for size in sizes[1:] for k in dims.block_kernels
        )
        self.conv_post = nn.Conv1d(sizes[-1], dims.n_fft + 2, 7)
        self.m_source = nn.ModuleDict({"l_linear": nn.Linear(dims.harmonics, 1)})
        self.register_buffer("window", torch.hann_window(dims.n_fft), persistent=False)

    @torch.inference_mode()
    def forward(self, mels: list[Tensor], frames: int | None = None) -> list[Tensor]:
        """Sound (480 t,) of each mel (t, 80); ``frames`` pads the batch to a length."""
        mel = nn.utils.rnn.pad_sequence([m.float() for m in mels], batch_first=True)
        mel = F.pad(mel, (0, 0, 0, max(0, (frames or 0) - mel.shape[1]))).transpose(1, 2)
        samples = [len(m) * SAMPLES_PER_FRAME for m in mels]
        ends = upload(samples, mel.device)
        source = self._source(self.f0_predictor(mel.double()).float())
        wave = self._inverse(self._shape(mel, self._spectrum(source, ends)), ends)
        return [wave[i, :n] for i, n in enumerate(samples)]

    def _source(self, f0: Tensor) -> Tensor:
        """Pitch (batch, frames) to excitation (batch, samples)."""
        order = torch.arange(1, self.dims.harmonics + 1, device=f0.device)
        cycles = (f0[:, :, None] * order / SAMPLE_RATE) % 1
        # Summed in float64 and rounded once: the same phase on every device, in every batch.
        summed = cycles.double().cumsum(1).float()
        phase = summed * 2 * torch.pi * SAMPLES_PER_FRAME
        voiced = (f0 > VOICED_HZ).float()[..., None]
        tone = (torch.sin(phase) * TONE * voiced).repeat_interleave(SAMPLES_PER_FRAME, 1)
        spread = voiced * BREATH + (1 - voiced) * TONE / 3
        noise = self.noise.first(tone.shape[1], f0.device)
        whole = tone + spread.repeat_interleave(SAMPLES_PER_FRAME, 1) * noise
        mixed: Tensor = self.m_source["l_linear"](whole)
        return torch.tanh(mixed).squeeze(-1)

    def _spectrum(self, source: Tensor, ends: Tensor) -> Tensor:
        """Short-time spectrum of the source, each row mirrored at its own two ends."""
        half = self.dims.n_fft // 2
        at = torch.arange(-half, source.shape[1] + half, device=source.device).abs()
        last = ends[:, None] - 1
        mirrored = torch.where(at > last, 2 * last - at, at).clamp_min(0)
        padded = source.gather(1, mirrored)
        frames = padded.unfold(1, self.dims.n_fft, self.dims.hop) * self.window
        spectrum = torch.fft.rfft(frames).transpose(1, 2)
        return torch.cat((spectrum.real, spectrum.imag), 1)

    def _shape(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """The network proper: (batch, n_fft + 2, frames of the inverse transform)."""
        x = self.conv_pre(F.pad(mel, (0, self.dims.look_ahead)))
        per_level = len(self.dims.block_kernels)
        for i, rate in enumerate(self.dims.rates):
            x = causal(self.ups[i], F.leaky_relu(x, SLOPE).repeat_interleave(rate, 2))
            if i == len(self.dims.rates) - 1:
                x = F.pad(x, (1, 0), mode="reflect")
            down = self.source_downs[i]
            thin = down(F.pad(spectrum, (self.dims.strides[i] - 1, 0)))
            x = x + self.source_resblocks[i](thin)
            blocks = self.resblocks[i * per_level : (i + 1) * per_level]
            x = torch.stack([block(x) for block in blocks]).sum(0) / per_level
        return causal(self.conv_post, F.leaky_relu(x))

    def _inverse(self, x: Tensor, ends: Tensor) -> Tensor:
        """Overlap-add of the frames a row has, with none of those beyond its end."""
        half, hop, n_fft = self.dims.n_fft // 2, self.dims.hop, self.dims.n_fft
        size = torch.exp(x[:, : half + 1]).clamp_max(1e2)
        spectrum = torch.polar(size, torch.sin(x[:, half + 1 :]))
        frames = torch.fft.irfft(spectrum, n_fft, dim=1) * self.window[:, None]
        own = torch.arange(x.shape[2], device=x.device) <= (ends // hop)[:, None]
        weight = own[:, None] * self.window.square()[:, None]
        whole = overlap_add(frames * own[:, None], hop) / overlap_add(weight, hop).clamp_min(1e-11)
        return whole[:, half:-half].clamp(-LIMIT, LIMIT)


def settled(frames: int) -> int:
    """How many samples of a mel that is not final are final all the same."""
    return max(0, frames - LOOK_AHEAD_FRAMES) * SAMPLES_PER_FRAME


def causal(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution that looks only left and keeps the length."""
    assert isinstance(conv, nn.Conv1d)
    out: Tensor = conv(F.pad(x, ((conv.kernel_size[0] - 1) * conv.dilation[0], 0)))
    return out


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(batch, size, n) to (batch, (n - 1) * hop + size)."""
    _, size, count = frames.shape
    length = (count - 1) * hop + size
    return F.fold(frames, (1, length), (1, size), stride=(1, hop))[:, 0, 0]


def from_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The released names of ``hift.pt`` to ours, weight norm folded into plain weights."""
    state = {k.removeprefix("generator."): v for k, v in state.items()}
    out = {}
    for name, value in state.items():
        stem, _, kind = name.partition(".parametrizations.weight.")
        if kind == "original1":
            scale = state[f"{stem}.parametrizations.weight.original0"]
            out[f"{stem}.weight"] = torch._weight_norm(value, scale, 0)
        elif not kind:
            out[name] = value
    return out
