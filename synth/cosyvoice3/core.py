"""The heart of the engine: ``step`` is schedule, run, emit, and there is no other loop.

Brings together a scheduler that holds no tensors and a runner that knows no queues, and keeps what
belongs to a request while it is under way. One thread at a time; knows no event loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .dims import MAX_SECONDS, TOKEN_RATE
from .errors import BadModel, Exhausted, Refused
from .frontend import Prepared
from .outlet import Outlet, Sink
from .request import Request
from .runner import Runner, Sound, Speak, Start, is_out_of_memory
from .sampling import derive
from .scheduler import Job, Piece, Plan, Scheduler

LONGEST = MAX_SECONDS * TOKEN_RATE
MARKS = 2
"""Positions of the language model's input that are neither text nor speech."""


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

    @property
    def held(self) -> int:
        """Requests, pieces, slots and voices in use: 0 when nothing is left of anybody."""
        return self.scheduler.held + len(self.talks) + len(self.runner.voices)

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
        plan = self.scheduler.schedule()
        self._run(plan)
        self._emit()
        return not plan.empty

    def _run(self, plan: Plan) -> None:
        """Prompts, then a burst of tokens, then one batch of speech."""
        if plan.decoding and self._start(plan):
            self._decode(plan)
        jobs = [job for job in plan.speak if job.piece.utterance in self.talks]
        if jobs:
            self._speak(jobs)

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

    def _decode(self, plan: Plan) -> None:
        tokens = self.runner.decode(plan.rows, plan.span, plan.burst)
        for piece in plan.decoding:
            self.scheduler.decoded(piece, tokens[piece.slot])
            if piece.ended and not piece.tokens:
                self.fail(piece.utterance, Refused("text_unreadable", "the text has no sound"))

    def _speak(self, jobs: list[Job]) -> None:
        sounds: list[Sound] = []
        if not self._in_memory(lambda: sounds.extend(self.runner.speak([*map(self._row, jobs)]))):
            if len(jobs) > 1:
                self.scheduler.retry(jobs)
            else:
                self.fail(jobs[0].piece.utterance, Exhausted("no memory for one piece of speech"))
            return
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
        if self.runner.device.type == "cuda":
            torch.cuda.empty_cache()
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
