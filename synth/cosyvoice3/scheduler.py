"""Who runs next: admission, decoding and speaking of many utterances, as a pure state machine.

Holds counts, ids and queues, and no tensor: what it plans, somebody else runs. Utterances are
admitted in turn, so a long one delays nobody; a piece is admitted only when its whole life fits
the cache; cancelling frees at once whatever is held.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .budget import Limits
from .dims import FRAMES_PER_TOKEN, SPEECH_CODES

SILENT = frozenset((1, 2, 28, 29, 55, 248, 494, 2241, 2242, 2322, 2323))
"""Speech tokens of silence and breath; more than five in a row are dropped."""
SILENT_RUN = 5
LOOK_AHEAD = 3
HOP = 25
MAX_HOP = 4 * HOP
SIMILAR = 1.25
"""A batch pads no row to more than this times its own frames."""


@dataclass(eq=False)
class Piece:
    """One stretch of text on its way through the model. Lengths are in tokens."""

    utterance: int
    index: int
    prefix: int
    least: int
    most: int
    prompt: int
    seed: int = 0
    stream: bool = False
    slot: int = -1
    said: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    silent: int = 0
    ended: bool = False
    spoken: int = 0
    samples: int = 0
    hop: int = HOP
    speaking: bool = False

    @property
    def produced(self) -> int:
        """Tokens that came out of its slot, silence among them."""
        return len(self.said)

    @property
    def key(self) -> tuple[int, int]:
        """Utterance and place in it."""
        return self.utterance, self.index

    def take(self, ids: list[int]) -> None:
        """Tokens that came out of its slot, up to the stop."""
        for token in ids:
            if token >= SPEECH_CODES:
                self.ended = True
                return
            self.said.append(token)
            self.silent = self.silent + 1 if token in SILENT else 0
            if self.silent <= SILENT_RUN:
                self.tokens.append(token)

    @property
    def chunk(self) -> int:
        """Where the next chunk ends, in tokens of the speech.

        Chunks end where the flow's attention does, which counts from the recording's start.
        """
        return self.spoken + self.hop + (-self.prompt % HOP if not self.spoken else 0)

    def job(self) -> Job | None:
        """What can be spoken of it now: all of it once it ended, a chunk where it streams."""
        if self.speaking:
            return None
        if self.ended:
            return Job(self, tuple(self.tokens), len(self.tokens), final=True)
        if self.stream and len(self.tokens) >= self.chunk + LOOK_AHEAD:
            tokens = self.tokens[: self.chunk + LOOK_AHEAD]
            return Job(self, tuple(tokens), self.chunk, final=False)
        return None


@dataclass(frozen=True)
class Job:
    """Speak a piece's tokens up to ``upto``; those past it are looked at, not spoken."""

    piece: Piece
    tokens: tuple[int, ...]
    upto: int
    final: bool

    @property
    def first(self) -> bool:
        """Whether a listener waits for its first sound."""
        return self.piece.stream and not self.piece.spoken

    @property
    def frames(self) -> int:
        """Mel frames of the row, the recording's among them."""
        return FRAMES_PER_TOKEN * (self.piece.prompt + len(self.tokens))


@dataclass(frozen=True)
class Plan:
    """What one step runs: prompts into slots, ``burst`` tokens of rows, one batch of speech."""

    admit: tuple[Piece, ...]
    rows: int
    span: int
    burst: int
    speak: tuple[Job, ...]
    decoding: tuple[Piece, ...]

    @property
    def empty(self) -> bool:
        """Nothing to run."""
        return not (self.admit or self.decoding or self.speak)


class Scheduler:
    """Queues and slots. One thread at a time."""

    def __init__(
        self,
        limits: Limits,
        burst: int,
        admit: int,
        *,
        most: int | None = None,
        fixed: bool = False,
    ) -> None:
        self.slots, self.length = limits.slots, limits.length
        self.frames = min(limits.frames, most or limits.frames)
        self.burst, self.admit, self.fixed = burst, admit, fixed
        self.crowd = limits.slots
        self._free = list(range(limits.slots - 1, -1, -1))
        self._waiting: deque[deque[Piece]] = deque()
        self._running: dict[int, Piece] = {}
        self._speaking: list[Piece] = []
        self._urgent = False

    @property
    def held(self) -> int:
        """Pieces known and slots taken: 0 when nothing is left of anybody."""
        waiting = sum(len(queue) for queue in self._waiting)
        return waiting + len(self._running) + len(self._speaking) + self.slots - len(self._free)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Pieces that were admitted and are not out yet."""
        return tuple(self._speaking)

    def fits(self, prefix: int, least: int) -> bool:
        """Whether a piece of this length can ever be admitted."""
        return prefix + least + self.burst + 1 <= self.length

    def add(self, pieces: list[Piece]) -> None:
        """Queue an utterance."""
        for piece in pieces:
            piece.most = min(piece.most, self.length - piece.prefix - self.burst - 1)
        self._waiting.append(deque(pieces))

    def schedule(self, *, speak: bool = True) -> Plan:
        """Decide one step. What is admitted now is also decoded in it.

        ``speak`` false: the device has speech enough to do.
        """
        admitted = self._admit()
        running = tuple(self._running.values())
        return Plan(
            admit=admitted,
            rows=self._rows(),
            span=self._span(),
            burst=self.burst,
            speak=self._batch() if speak else (),
            decoding=running,
        )

    def decoded(self, piece: Piece, ids: list[int]) -> None:
        """Tokens of a piece that was in the plan; its slot is free again once it ended."""
        if self._running.get(piece.slot) is not piece:
            return  # cancelled meanwhile
        piece.take(ids)
        if piece.ended:
            self._release(piece)

    def spoken(self, job: Job, samples: int) -> None:
        """A job of the plan is done and gave so many samples."""
        piece = job.piece
        piece.speaking = False
        piece.samples += samples
        piece.spoken = job.upto
        piece.hop = min(MAX_HOP, 2 * piece.hop)
        if job.final and piece in self._speaking:
            self._speaking.remove(piece)

    def retry(self, jobs: list[Job]) -> None:
        """Jobs that found no memory go again, in smaller batches from now on."""
        for job in jobs:
            job.piece.speaking = False
        self.frames = max(1, sum(job.frames for job in jobs) // 2)

    def readmit(self, pieces: tuple[Piece, ...]) -> None:
        """Prompts that found no memory go again, fewer at once from now on."""
        self.admit = max(1, len(pieces) // 2)
        self._put_back(pieces)

    def preempt(self, pieces: tuple[Piece, ...]) -> None:
        """Pieces whose decoding found no memory go on from what they said, fewer at once."""
        self.crowd = max(1, len(pieces) // 2)
        self._put_back(pieces)

    def _put_back(self, pieces: tuple[Piece, ...]) -> None:
        for piece in reversed(pieces):
            self._release(piece)
            self._speaking.remove(piece)
            self._waiting.appendleft(deque([piece]))

    def cancel(self, utterance: int) -> None:
        """Forget an utterance wherever its pieces are."""
        self._waiting = deque(q for q in self._waiting if q and q[0].utterance != utterance)
        for piece in [p for p in self._running.values() if p.utterance == utterance]:
            self._release(piece)
        self._speaking = [p for p in self._speaking if p.utterance != utterance]

    def _admit(self) -> tuple[Piece, ...]:
        """One piece of each waiting utterance in turn, lowest slots first."""
        admitted: list[Piece] = []
        room = min(self.admit, self.crowd - len(self._running))
        while self._waiting and self._free and len(admitted) < room:
            queue = self._waiting.popleft()
            piece = queue.popleft()
            piece.slot = self._free.pop()
            self._running[piece.slot] = piece
            self._speaking.append(piece)
            admitted.append(piece)
            if queue:
                self._waiting.append(queue)
        return tuple(admitted)

    def _release(self, piece: Piece) -> None:
        del self._running[piece.slot]
        self._free.append(piece.slot)
        self._free.sort(reverse=True)
        piece.slot = -1

    def _rows(self) -> int:
        """Rows to decode: a power of two above the highest slot, so that shapes repeat."""
        if self.fixed:
            return self.slots
        highest = max(self._running, default=-1) + 1
        return min(self.slots, 1 << (highest - 1).bit_length()) if highest else 0

    def _span(self) -> int:
        """Columns of the cache to look at: in steps of 256, so that shapes repeat."""
        if self.fixed:
            return self.length
        far = max((p.prefix + p.produced for p in self._running.values()), default=0)
        return min(self.length, -(-(far + self.burst + 1) // 256) * 256)

    def _batch(self) -> tuple[Job, ...]:
        """The oldest job that can run, and others of about its length while frames last."""
        ready = [job for piece in self._speaking if (job := piece.job())]
        # A first sound goes ahead of what has waited longest, but only every other time: many who
        # begin to stream do not hold up those who wait for the whole.
        self._urgent = not self._urgent
        ready.sort(key=lambda job: self._urgent and not job.first)
        batch: list[Job] = []
        for job in ready:
            sizes = [other.frames for other in [*batch, job]]
            alike = max(sizes) <= SIMILAR * min(sizes)
            if batch and (self.fixed or not alike or max(sizes) * len(sizes) > self.frames):
                continue
            batch.append(job)
            job.piece.speaking = True
        return tuple(batch)
