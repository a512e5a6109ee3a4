"""Runs what was planned: prompts into slots, steps of decoding, batches of speech.

Holds every tensor there is: networks, cache, the state of each slot, features of the voices in
use. Refuses to know queues, fairness and limits. Nothing here waits for the device: decoding writes
in place over rows of fixed shape, in a lane of its own, speech is made in another, and what comes
of either is on its way to the host when it is handed out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .budget import Limits
from .checkpoint import Networks
from .device import Lane, Pending, Record, Replay, convolving, recorder, send, settle, upload
from .dims import SPEECH_CODES
from .flow import FlowRow
from .hift import settled
from .lm import KVCache
from .prompt import Prompt
from .sampling import STOP, WINDOW, sample

Sound = NDArray[np.float32]
PAD_TO = 64
"""On a GPU, frames of a batch are a multiple of this, so that shapes repeat."""


@dataclass(frozen=True)
class Start:
    """A prompt for a slot: ids before the task mark, whose voice, limits and seed.

    ``said`` are speech tokens that were drawn already, by a piece that lost its slot.
    """

    slot: int
    ids: tuple[int, ...]
    voice: int
    continues: bool
    least: int
    most: int
    seed: int
    said: tuple[int, ...] = ()


@dataclass(frozen=True)
class Speak:
    """A row of speech: tokens so far, whose voice, and how many samples are out already."""

    voice: int
    tokens: tuple[int, ...]
    samples: int
    stream: bool
    final: bool
    speed: float = 1.0


class Runner:
    """The device's side of an engine. One thread at a time."""

    def __init__(
        self,
        networks: Networks,
        limits: Limits,
        device: torch.device,
        record: Record | None = None,
    ) -> None:
        self.networks, self.device = networks, device
        weight = networks.lm.head.weight
        self.exact = weight.dtype == torch.float32
        self.cache = KVCache(networks.lm.dims, limits.slots, limits.length, weight.dtype, device)
        numbers = torch.zeros(5, limits.slots, dtype=torch.long, device=device)
        self.at, self.produced, self.least, self.most, self.seed = numbers.unbind()
        self.token = torch.full((limits.slots,), STOP, device=device)
        self.recent = torch.full((limits.slots, WINDOW), -1, device=device)
        self.voices: dict[int, Prompt] = {}
        self._heard: dict[int, list[int]] = {}
        # A step of decoding is many small kernels: each would wait behind the flow's large ones.
        self._decoding, self._speaking = Lane(device, first=True), Lane(device)
        self._replay = Replay(self._step, record or recorder(device))
        settle(device)

    def hold(self, voice: int, prompt: Prompt) -> None:
        """Bring a voice's features to the device, until ``free``."""
        parts = (prompt.tokens, prompt.mel, prompt.speaker)
        with self._speaking():
            self.voices[voice] = Prompt(*(send(part, self.device) for part in parts))
        self._heard[voice] = prompt.tokens.tolist()

    def free(self, voice: int) -> None:
        """Let a voice's features go; unknown voices are none."""
        self.voices.pop(voice, None)
        self._heard.pop(voice, None)

    def close(self) -> None:
        """Let go of the networks, their memory and all that was recorded over it, at once.

        Steps and their runner hold each other: it would all wait for a collection of garbage, and
        an engine that is loaded in the place of this one would find the device half full.
        """
        self.voices.clear()
        for held in ("networks", "cache", "_replay"):
            vars(self).pop(held, None)

    @torch.inference_mode()
    def start(self, starts: Sequence[Start]) -> None:
        """Fill slots with prompts and draw the next token of each."""
        with self._decoding():
            self._start(starts)

    def _start(self, starts: Sequence[Start]) -> None:
        lm = self.networks.lm
        heard = [self._heard[s.voice] if s.continues else [] for s in starts]
        prompts = [lm.embed(s.ids, [*h, *s.said]) for s, h in zip(starts, heard, strict=True)]
        rows = [
            (s.slot, len(p), len(s.said), s.least, s.most, s.seed, *_last(s.said))
            for s, p in zip(starts, prompts, strict=True)
        ]
        table = upload(rows, self.device)
        slots = table[:, 0]
        logits = lm.prefill(prompts, slots, self.cache)
        state = (self.at, self.produced, self.least, self.most, self.seed)
        for column, tensor in enumerate(state, 1):
            tensor[slots] = table[:, column]
        self.recent[slots] = table[:, -WINDOW:]
        self.token[slots] = self._draw(logits, slots)

    @torch.inference_mode()
    def decode(self, rows: int, span: int, burst: int) -> Pending[list[list[int]]]:
        """The next ``burst`` tokens of the first ``rows`` slots; a row that ended reads STOP."""
        with self._decoding():
            out = torch.empty(rows, burst, dtype=torch.long, device=self.device)
            for step in range(burst):
                out[:, step] = self.token[:rows]
                self._replay(rows, span)
            return Pending(out, Tensor.tolist)

    def _step(self, rows: int, span: int) -> None:
        """Feed each row its token and draw the next, all in place."""
        token, at = self.token[:rows], self.at[:rows]
        live = token < STOP
        # A row that was cancelled runs on unseen until its slot is filled again: keep it inside.
        logits = self.networks.lm.decode(token, at.clamp_max(span - 1), self.cache, span)
        recent = self.recent[:rows]
        recent.copy_(torch.cat((recent[:, 1:], token[:, None]), 1))
        self.produced[:rows].add_(live)
        at.add_(live)
        drawn = self._draw(logits, slice(0, rows))
        token.copy_(torch.where(live, drawn, STOP))

    def _draw(self, logits: Tensor, rows: Tensor | slice) -> Tensor:
        produced = self.produced[rows]
        may_stop = produced >= self.least[rows]
        drawn = sample(logits, self.recent[rows], self.seed[rows], produced, may_stop)
        ends = (drawn >= SPEECH_CODES) | (produced >= self.most[rows])
        return torch.where(ends, STOP, drawn)

    @torch.inference_mode()
    def speak(self, rows: Sequence[Speak]) -> Pending[list[Sound]]:
        """New sound of each row: 24 kHz samples after those that are out already."""
        with self._speaking(), convolving(exactly=self.exact):
            parts = self._speak(rows)
            ends = np.cumsum([len(part) for part in parts])[:-1]
            return Pending(
                torch.cat(parts), lambda sound: [p.copy() for p in np.split(sound.numpy(), ends)]
            )

    def _speak(self, rows: Sequence[Speak]) -> list[Tensor]:
        flow_rows = [self._flow_row(row) for row in rows]
        frames = max(2 * len(row.tokens) for row in flow_rows)
        mels = self.networks.flow(flow_rows, self._padded(frames))
        mels = [stretch(m, r.speed, r.final) for m, r in zip(mels, rows, strict=True)]
        waves = self.networks.hift(mels, self._padded(max(len(m) for m in mels)))
        return [self._news(w, m, r) for w, m, r in zip(waves, mels, rows, strict=True)]

    def _flow_row(self, row: Speak) -> FlowRow:
        voice = self.voices[row.voice]
        joined = torch.cat((voice.tokens, upload(row.tokens, self.device)))
        return FlowRow(joined, voice.mel, voice.speaker, row.stream, row.final)

    def _news(self, wave: Tensor, mel: Tensor, row: Speak) -> Tensor:
        end = len(wave) if row.final else settled(len(mel))
        return wave[row.samples : max(end, row.samples)]

    def _padded(self, frames: int) -> int:
        return -(-frames // PAD_TO) * PAD_TO if self.device.type == "cuda" else frames


def _last(said: tuple[int, ...]) -> list[int]:
    """The ids that repetition is told by, -1 where there are none yet."""
    return [-1] * (WINDOW - len(said)) + list(said[-WINDOW:])


def stretch(mel: Tensor, speed: float, final: bool) -> Tensor:
    """Mel (t, 80) at another pace and the same pitch, about t / speed frames.

    Each frame is found by its own place alone, so a longer mel gives the same beginning; of one
    that is not final, only frames whose both neighbours are there.
    """
    if speed == 1.0 or not len(mel):
        return mel
    frames = int(len(mel) / speed)
    place = ((torch.arange(frames, device=mel.device) + 0.5) * speed - 0.5).clamp_min(0)
    if not final:
        place = place[: max(0, int((len(mel) - 1 + 0.5) / speed - 0.5))]
    left = place.floor().long().clamp_max(len(mel) - 1)
    right = (left + 1).clamp_max(len(mel) - 1)
    return torch.lerp(mel[left], mel[right], (place - left)[:, None].to(mel.dtype))
