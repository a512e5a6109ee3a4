"""The heart of the engine: ``step`` is schedule, run, emit, and there is no other loop.

Brings together a scheduler that holds no tensors and a runner that knows no queues, and keeps what
belongs to a request while it is under way. One thread at a time; knows no event loops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .device import Pending, is_out_of_memory, trim
from .dims import MAX_SECONDS, TOKEN_RATE
from .errors import BadModel, Exhausted, Refused
from .frontend import Prepared
from .outlet import Outlet, Sink
from .request import Request
from .runner import Runner, Sound, Speak, Start
from .sampling import derive
from .scheduler import Job, Piece, Plan, Scheduler

LONGEST = MAX_SECONDS * TOKEN_RATE
MARKS = 2
"""Positions of the language model's input that are neither text nor speech."""
AHEAD = 2
"""Batches of speech asked for at once: while one is fetched, the device has another."""
GLANCE = 0.002
"""Seconds that a step waits for speech where there is nothing else to do."""


@dataclass(frozen=True)
class Talk:
    """A request under way."""

    request: Request
    prepared: Prepared
    outlet: Outlet

    @property
    def heard(self) -> int:
        """Tokens of the recording that the language model goes on from."""
        return len(self.prepared.prompt.tokens) if self.prepared.continues else 0


class Core:
    """Requests in by ``begin``, sound out through their sinks, one ``step`` after another."""

    def __init__(self, runner: Runner, scheduler: Scheduler) -> None:
        self.runner, self.scheduler = runner, scheduler
        self.talks: dict[int, Talk] = {}
        self._sounding: deque[tuple[list[Job], Pending[list[Sound]]]] = deque()

    @property
    def held(self) -> int:
        """Requests, pieces, slots and voices in use: 0 when nothing is left of anybody."""
        used = len(self.talks) + len(self.runner.voices) + len(self._sounding)
        return self.scheduler.held + used

    def check(self, prepared: Prepared) -> None:
        """Refused for pieces that could never be spoken whole."""
        prompt = len(prepared.prompt.tokens)
        heard = prompt if prepared.continues else 0
        for piece in prepared.pieces:
            fits = self.scheduler.fits(len(piece.ids) + heard + MARKS, piece.least)
            if not fits or prompt + piece.least > LONGEST:
                raise Refused("output_too_long", "a piece of the text is too long to be spoken")

    def begin(self, number: int, request: Request, prepared: Prepared, sink: Sink) -> None:
        """Queue a request that was checked."""
        talk = Talk(request, prepared, Outlet(sink, len(prepared.pieces)))
        self.talks[number] = talk
        self.runner.hold(number, prepared.prompt)
        self.scheduler.add([_piece(number, i, talk) for i in range(len(prepared.pieces))])

    def drop(self, number: int) -> None:
        """Forget a request at whatever point it is, and free all it holds."""
        self.scheduler.cancel(number)
        self.runner.free(number)
        self.talks.pop(number, None)

    def fail(self, number: int, err: BaseException) -> None:
        """Forget a request, then tell its caller why."""
        if number in self.talks:
            outlet = self.talks[number].outlet
            self.drop(number)
            outlet.sink(err)

    def step(self) -> bool:
        """Schedule, run, emit. False if there was nothing to do."""
        plan = self.scheduler.schedule(speak=len(self._sounding) < AHEAD)
        under_way = bool(self._sounding)
        self._run(plan)
        self._emit()
        return under_way or not plan.empty

    def _run(self, plan: Plan) -> None:
        """Prompts, a burst of tokens, a batch of speech; then take what has come of them."""
        burst = self._decode(plan) if plan.decoding and self._start(plan) else None
        jobs = [job for job in plan.speak if job.piece.utterance in self.talks]
        if jobs:
            self._speak(jobs)
        if burst:
            self._decoded(plan, burst.result())  # the one wait for the device in a step
        self._sounded(0 if burst else GLANCE)

    def _emit(self) -> None:
        """Hand out what is next in line; forget who has everything."""
        for number, talk in list(self.talks.items()):
            talk.outlet.flush()
            if talk.outlet.done:
                self.drop(number)

    def _start(self, plan: Plan) -> bool:
        """Prompts into their slots; False if memory ran out, and they have to come again."""
        if not plan.admit:
            return True
        if not self._in_memory(lambda: self.runner.start([self._prompt(p) for p in plan.admit])):
            if len(plan.admit) > 1:
                self.scheduler.readmit(plan.admit)
            else:
                self.fail(plan.admit[0].utterance, Exhausted("no memory for one prompt"))
            return False
        return True

    def _decode(self, plan: Plan) -> Pending[list[list[int]]] | None:
        """Ask for a burst; None if memory ran out, and all have to go on in a smaller crowd."""
        asked: list[Pending[list[list[int]]]] = []
        shape = plan.rows, plan.span, plan.burst
        if self._in_memory(lambda: asked.append(self.runner.decode(*shape))):
            return asked[0]
        if len(plan.decoding) > 1:
            self.scheduler.preempt(plan.decoding)
        else:
            self.fail(plan.decoding[0].utterance, Exhausted("no memory to decode one piece"))
        return None

    def _decoded(self, plan: Plan, tokens: list[list[int]]) -> None:
        for piece in plan.decoding:
            self.scheduler.decoded(piece, tokens[piece.slot])
            if piece.ended and not piece.tokens:
                self.fail(piece.utterance, Refused("text_unreadable", "the text has no sound"))

    def _speak(self, jobs: list[Job]) -> None:
        def ask() -> None:
            self._sounding.append((jobs, self.runner.speak([*map(self._row, jobs)])))

        if self._in_memory(ask):
            return
        if len(jobs) > 1:
            self.scheduler.retry(jobs)
        else:
            self.fail(jobs[0].piece.utterance, Exhausted("no memory for one piece of speech"))

    def _sounded(self, patience: float) -> None:
        """Take the speech that has come, after so many seconds at most."""
        while self._sounding and self._sounding[0][1].within(patience):
            patience = 0
            jobs, speech = self._sounding.popleft()
            self._take(jobs, speech.result())

    def _take(self, jobs: list[Job], sounds: list[Sound]) -> None:
        for job, sound in zip(jobs, sounds, strict=True):
            if not np.isfinite(sound).all():
                self.fail(job.piece.utterance, BadModel("the sound is not finite: try float32"))
            if job.piece.utterance not in self.talks:
                continue  # failed just now, by this piece or another of its request
            self.scheduler.spoken(job, len(sound))
            self.talks[job.piece.utterance].outlet.put(job.piece.index, sound, job.final)

    def _in_memory(self, work: Callable[[], None]) -> bool:
        """Do it; False if the device had no room for it."""
        try:
            work()
        except RuntimeError as err:
            if not is_out_of_memory(err):
                raise
        else:
            return True
        trim(self.runner.device)
        return False

    def _prompt(self, piece: Piece) -> Start:
        talk = self.talks[piece.utterance]
        return Start(
            slot=piece.slot,
            ids=talk.prepared.pieces[piece.index].ids,
            voice=piece.utterance,
            continues=talk.prepared.continues,
            least=piece.least,
            most=piece.most,
            seed=piece.seed,
            said=tuple(piece.said),
        )

    def _row(self, job: Job) -> Speak:
        piece = job.piece
        return Speak(
            voice=piece.utterance,
            tokens=job.tokens,
            samples=piece.samples,
            stream=piece.stream,
            final=job.final,
            speed=self.talks[piece.utterance].request.speed,
        )


def _piece(number: int, index: int, talk: Talk) -> Piece:
    text, prompt = talk.prepared.pieces[index], len(talk.prepared.prompt.tokens)
    return Piece(
        utterance=number,
        index=index,
        prefix=len(text.ids) + talk.heard + MARKS,
        least=text.least,
        most=min(text.most, LONGEST - prompt),
        prompt=prompt,
        seed=derive(talk.request.seed, index),
        stream=talk.request.stream,
    )
