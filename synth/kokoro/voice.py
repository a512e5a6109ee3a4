"""The demo voice behind the `Voice` port: of Kokoro's voices the one nearest the recording.

Knows the ONNX graph (phoneme tokens, a style row, a speed in; 24 kHz samples out), and says with
every speech that nothing was cloned. Instructions do not change this voice and the seed draws
nothing: equal requests give equal samples. Refuses to know objects, events and the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from relay.errors import Unavailable
from synth import weights
from synth.kokoro.turns import Turns
from synth.speaker import Encoder
from synth.voice import Refusal, Samples, Speech, SpeechRequest, Spoken, refuse

if TYPE_CHECKING:
    from synth.kokoro.phonemes import Reader

RATE = 24_000
VOICES = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo")
MAX_SECONDS = 3600.0
"""Longer speech is refused; 5,000 characters at half speed stay below it."""
_ENGINE, _VERSION = "kokoro-82m", "1.0-int8"
_HEAD_START = 60.0
"""Seconds by which a text may go before others that came to the voice before it."""
_REVISION = 1
"""Raise it when code here, or the reading of text, changes what is heard."""
_READS_WITH = ("misaki", "jieba", "pypinyin", "cn2an")
_PAUSE = np.zeros(int(0.18 * RATE), np.float32)
_PEAK = 0.97
_EDGE = int(0.04 * RATE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    session: onnxruntime.InferenceSession
    vocabulary: dict[str, int]
    styles: dict[str, NDArray[np.float32]]
    """A voice's style for every number of tokens: (510, 1, 256)."""
    reader: Reader
    encoder: Encoder
    portraits: NDArray[np.float32]
    """Speaker embeddings of `VOICES`, in their order: (5, 256)."""


class KokoroVoice:
    """Kokoro-82M on the CPU. `workers` pieces are spoken at once, with `threads` each.

    Who was accepted first is spoken first, within a minute: what has waited for longer when it
    comes gains no more by it, or, where persons with many texts wait, whoever has one would be
    passed by all of theirs, and the turns that the relay gives to persons would be worth nothing.

    A text is read and its first piece spoken in one turn; a long one comes back for each further
    piece as if it had been accepted later, by the seconds that it has had: so a short one that came
    meanwhile ends earlier, and a crowd does not starve it.
    """

    def __init__(self, models: Path | None = None, *, workers: int = 1, threads: int = 2) -> None:
        self._models, self._workers, self._threads = models, workers, threads
        self._digest = digest()
        self._turns = Turns(workers)
        self._pool: ThreadPoolExecutor | None = None
        self._loaded: _Loaded | None = None

    @property
    def digest(self) -> str:
        """Hash over weights, dictionaries and this code's revision."""
        return self._digest

    async def start(self) -> None:
        """Load 110 MB of weights and the dictionaries; about three seconds."""
        if self._pool is None:  # a start that failed is tried again
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="kokoro")
        self._loaded = await self._run(partial(load, self._models, self._threads))

    async def ready(self) -> None:
        if self._loaded is None:
            raise Unavailable("the demo voice is not loaded")

    async def speak(self, request: SpeechRequest) -> Speech:
        """Speak in the nearest voice, piece by piece; see `Voice`."""
        await self.ready()
        loaded = self._loaded
        assert loaded is not None
        since = waits_since(request.accepted, time.time(), time.monotonic())
        (voice, first, left), since = await self._turn(since, partial(begin, loaded, request))
        spoken = [first]
        for piece in left:
            demand_bounded(spoken)
            said, since = await self._turn(since, partial(say, loaded, piece, voice, request.speed))
            spoken.append(said)
        demand_bounded(spoken)
        who = Spoken(
            engine=_ENGINE,
            voice=voice,
            version=_VERSION,
            digest=self._digest,
            device="cpu",
            cloned=False,
        )
        return Speech(join(spoken), RATE, who)

    async def aclose(self) -> None:
        """Let the piece in hand end, drop the rest."""
        self._loaded = None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, since: float, work: Callable[[], T]) -> tuple[T, float]:
        """What `work` gives, once it is its turn; and since when the next one waits."""
        async with self._turns.since(since):
            begun = time.monotonic()
            done = await self._run(work)
        return done, since + time.monotonic() - begun

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def waits_since(accepted: float, now: float, moment: float) -> float:
    """When a text that comes at `moment` began to wait, as far as its turn goes by it.

    By our own steady clock: those who accept have others, which may be wrong, and jump.
    """
    return moment - min(max(0.0, now - accepted), _HEAD_START)


def digest() -> str:
    """What decides the sound, as one hash: needs no weight to be loaded."""
    parts = [weight.sha256 for weight in weights.WEIGHTS]
    parts += [f"{name} {_installed(name)}" for name in _READS_WITH]
    parts += [_portraits_text(), f"revision {_REVISION}"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load(models: Path | None, threads: int) -> _Loaded:
    """Everything from disk; `Unavailable` where something is not installed."""
    try:
        from synth.kokoro.phonemes import Reader

        reader = Reader.load(weights.cache_folder())
    except ModuleNotFoundError as missing:
        raise Unavailable(f"install the packages of the group demo: {missing}") from missing
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads sleep: other stages may share these cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        weights.load(weights.KOKORO, models), options, providers=["CPUExecutionProvider"]
    )
    with np.load(io.BytesIO(weights.load(weights.VOICES, models)), allow_pickle=False) as styles:
        by_voice = {name: styles[name] for name in VOICES}
    vocabulary = json.loads(weights.load(weights.VOCABULARY, models))["vocab"]
    encoder = Encoder.load(weights.load(weights.SPEAKER, models))
    return _Loaded(session, vocabulary, by_voice, reader, encoder, _portraits())


def begin(loaded: _Loaded, request: SpeechRequest) -> tuple[str, Samples, Sequence[str]]:
    """The voice, the first piece spoken in it, and the pieces that are left."""
    first, *left = loaded.reader.pieces(request.text)
    voice = nearest(loaded, request.prompt, request.prompt_rate)
    return voice, say(loaded, first, voice, request.speed), left


def nearest(loaded: _Loaded, prompt: Samples, rate: int) -> str:
    """The voice whose portrait is most like the one in `prompt`."""
    return VOICES[int(np.argmax(loaded.portraits @ loaded.encoder.embed(prompt, rate)))]


def say(loaded: _Loaded, phonemes: str, voice: str, speed: float) -> Samples:
    """One piece of at most 510 phonemes, without the silence around it."""
    tokens = [loaded.vocabulary[p] for p in phonemes if p in loaded.vocabulary]
    feed = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": loaded.styles[voice][len(tokens) - 1],
        "speed": np.array([speed], np.float32),
    }
    return _trimmed(np.asarray(loaded.session.run(None, feed)[0], np.float32).ravel())


def demand_bounded(pieces: Sequence[Samples]) -> None:
    """Raise `BadRecord` with `output_too_long` where `pieces` are longer than is spoken."""
    if sum(map(len, pieces)) > MAX_SECONDS * RATE:
        raise refuse(Refusal.OUTPUT_TOO_LONG)


def join(pieces: Sequence[Samples]) -> Samples:
    """Pieces with a breath between them, within the peak."""
    parts = [part for piece in pieces for part in (piece, _PAUSE)][:-1]
    whole = np.concatenate(parts)
    peak = float(np.abs(whole).max(initial=0))
    return whole * np.float32(_PEAK / peak) if peak > _PEAK else whole


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=1e-6))
    if len(loud) == 0:
        return samples
    return samples[max(0, loud[0] - _EDGE) : loud[-1] + _EDGE]


def _portraits_text() -> str:
    return (files(__package__) / "portraits.json").read_text()


def _portraits() -> NDArray[np.float32]:
    known = json.loads(_portraits_text())
    return np.array([known[name] for name in VOICES], np.float32)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
