"""Judging again what was judged: today's code, a policy of choice, what was recorded then.

Knows which events and objects a judgement was made from, and how it is found: an event's id follows
from its parent's. Reads the log and the store and writes to neither; what it learns lies in a
journal. Refuses to know how a verdict comes about (`moderation.decide` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from audit.journal import Journal
from audit.reading import Eyes, Personal, Seen, person_in
from audit.rejudge import Change, Ruling, Tally, Unheard, again, recorded, restored
from moderation.hearing import Heard
from moderation.policy import Policy, policy_key, restore_policy
from relay.codec import head_of
from relay.errors import BadRecord, Misconfigured, Missing
from relay.log.port import Record
from relay.spine import Spine
from schemas.envelope import format_time, parse_time
from schemas.events import (
    Event,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptUploaded,
    Value,
    Verdict,
)
from schemas.states import STATE_OF, State
from schemas.topics import topic_of

CHUNK = 256
LAG = timedelta(days=1)
"""How long after a prompt its verdict may have come."""

JUDGED: tuple[type[PromptApproved | PromptRejected | PromptHeld], ...] = (
    PromptApproved,
    PromptRejected,
    PromptHeld,
)

Listen = Callable[[PromptUploaded, bytes], Awaitable[Heard]]
"""What is known of a recording, found out anew from its stored bytes."""
Told = Callable[[Tally], None]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which prompts: by the time they came, by person, by a share of the jobs (0 to 1)."""

    since: datetime | None = None
    until: datetime | None = None
    person: UUID | None = None
    sample: float = 1.0

    def holds(self, record: Record) -> bool:
        """Whether `record` is one of them, its time apart. A share is always the same one."""
        if self.person is not None and person_in(record) != self.person:
            return False
        if self.sample >= 1.0:
            return True
        drawn = int.from_bytes(sha256(record.key.encode(errors="replace")).digest()[:8])
        return drawn < self.sample * 2**64

    @property
    def told(self) -> dict[str, Any]:
        """The scope as JSON, for a journal's question."""
        return {
            "since": format_time(self.since) if self.since else None,
            "until": format_time(self.until) if self.until else None,
            "person": str(self.person) if self.person else None,
            "sample": self.sample,
        }


class Replay:
    """One question put to the log; `run` answers it, from where its journal had come to."""

    def __init__(
        self,
        spine: Spine,
        scope: Scope,
        journal: Journal,
        *,
        policy: Policy | None,
        measure: Listen,
        rehear: Listen | None = None,
    ) -> None:
        """Without a `policy` each prompt is judged by the one that was in force for it.

        `measure` tells of a sound's levels alone, `rehear` of everything; the latter replaces what
        is recorded.
        """
        self._spine, self._scope, self._journal = spine, scope, journal
        self._policy, self._measure, self._rehear = policy, measure, rehear
        self._eyes = Eyes(spine.keys)
        self._then: dict[str, Policy | None] = {}

    async def run(self, tell: Told = lambda _: None) -> Tally:
        """Read verdicts, then prompts, and compare; `tell` hears of each step."""
        end = self._end()
        late = end if self._scope.until is None else min(end, self._scope.until + LAG)
        topics = [topic_of(event) for event in JUDGED]
        async for chunk in self._chunks("verdicts", topics, late):
            held = (r for r in chunk if self._scope.holds(r))
            answers = [a for r in held if (a := _verdict(r)) is not None]
            self._journal.step("verdicts", chunk, answers=answers)
        tally = restored(self._journal.fact("tally") or Tally().told)
        until = min(end, self._scope.until or end)
        async for chunk in self._chunks("prompts", [topic_of(PromptUploaded)], until):
            await self._judge([r for r in chunk if self._scope.holds(r)], tally)
            self._journal.step("prompts", chunk, facts={"tally": tally.told})
            tell(tally)
        return tally

    def _end(self) -> datetime:
        """Where the log ended when this question was first put."""
        if (kept := self._journal.fact("end")) is None:
            kept = format_time(datetime.now(UTC))
            self._journal.keep("end", kept)
        return parse_time(kept)

    async def _chunks(
        self, phase: str, topics: Sequence[str], until: datetime
    ) -> AsyncIterator[list[Record]]:
        chunk: list[Record] = []
        done = self._journal.places(phase)
        async for record in self._spine.log.read(
            topics, self._scope.since, until=until, start=done
        ):
            chunk.append(record)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def _judge(self, records: Sequence[Record], tally: Tally) -> None:
        prompts = [await self._eyes.see(record) for record in records]
        answers = self._answers(prompts)
        # Here, once: the cases are looked at side by side, and each would compile it for itself.
        for digest in {answer.verdict.policy_digest for answer in answers.values()}:
            await self._remember(digest)
        cases = await asyncio.gather(
            *(self._case(seen, answers.get(seen.record.key)) for seen in prompts)
        )
        for verdict, ruled in await asyncio.to_thread(lambda: [_rule(case) for case in cases]):
            if isinstance(ruled, str) or verdict is None:
                tally.left_out[str(ruled)] += 1
            else:
                tally.saw(verdict, ruled)

    def _answers(self, prompts: Sequence[Seen]) -> dict[str, _Answer]:
        """What moderation answered to each of them, by job; a job that has none is left out.

        Kind by kind: the first is that of nearly all, and every id takes its time to compute. A
        review's answer is another event's child, and so not among them.
        """
        found: dict[str, _Answer] = {}
        for event in JUDGED:
            jobs = {
                seen.head.child(topic_of(event), 0, event.TYPE).id: seen.record.key
                for seen in prompts
                if seen.head and seen.record.key not in found
            }
            kept = self._journal.answered(list(jobs))
            found |= {jobs[id_]: _Answer.read(body) for id_, body in kept.items()}
        return found

    async def _case(self, seen: Seen, answer: _Answer | None) -> _Case | str:
        """What there is to judge; a word where there is nothing."""
        if not isinstance(seen.event, PromptUploaded) or seen.head is None:
            return "unreadable"
        if seen.personal is Personal.ERASED:
            return "erased"
        if answer is None:
            return "never judged"
        try:
            heard = await self._heard(seen.event, answer.verdict)
        except Missing:
            return "recording or hearing gone"
        except BadRecord as wrong:
            return wrong.code
        then = self._then[answer.verdict.policy_digest]
        policy = self._policy or then
        if policy is None:
            return "policy gone"
        return _Case(seen.record.key, seen.event, heard, answer, policy, then)

    async def _heard(self, event: PromptUploaded, verdict: Verdict) -> Heard:
        store = self._spine.store
        if self._rehear is not None:
            return await self._rehear(event, await store.get(event.recording.key))
        if verdict.hearing_key is not None:
            return Heard.model_validate_json(await store.get(verdict.hearing_key))
        return await self._measure(event, await store.get(event.recording.key))

    async def _remember(self, digest: str) -> None:
        """Have the policy of that digest at hand, or know that it is gone."""
        if digest in self._then:
            return
        try:
            document = await self._spine.store.get(policy_key(digest))
        except Missing:
            self._then[digest] = None
            return
        found = await asyncio.to_thread(restore_policy, document)
        if found.digest != digest:
            raise Misconfigured(f"the policy kept as {digest} is another one: {found.digest}")
        self._then[digest] = found


@dataclass(frozen=True, slots=True)
class _Answer:
    """What moderation answered to a prompt, as the journal keeps it."""

    state: State
    verdict: Verdict

    @classmethod
    def read(cls, body: str) -> _Answer:
        state, _, verdict = body.partition(" ")
        return cls(State(state), Verdict.model_validate_json(verdict))

    def spelled(self) -> str:
        return f"{self.state.value} {self.verdict.model_dump_json()}"


@dataclass(frozen=True, slots=True)
class _Case:
    job: str
    prompt: PromptUploaded
    heard: Heard
    answer: _Answer
    policy: Policy
    then: Policy | None


def _rule(case: _Case | str) -> tuple[Verdict | None, Change | str | None]:
    """The verdict on record and what changes; a word where it cannot be judged again."""
    if isinstance(case, str):
        return None, case
    verdict = case.answer.verdict
    before = recorded(case.answer.state, verdict)
    try:
        after = again(case.prompt, case.heard, case.policy, as_then=case.policy is case.then)
    except Unheard:
        return None, "not heard then"
    if after == before:
        return verdict, None
    return verdict, Change(case.job, before, after, _cause(case, before))


def _cause(case: _Case, before: Ruling) -> str:
    """Whether today's code still rules as it did, under the policy of then."""
    if case.then is None:
        return "unknown"
    try:
        same = again(case.prompt, case.heard, case.then, as_then=True) == before
    except Unheard:
        return "code"
    return "policy" if same else "code"


def _verdict(record: Record) -> tuple[UUID, str] | None:
    """Id and body of an answer, as far as it matters here; None where it cannot be read."""
    try:
        judged = _Judged.model_validate_json(record.value)
        return head_of(record).id, _Answer(_STATES[record.topic], judged.verdict).spelled()
    except (BadRecord, ValidationError):
        return None


class _Judged(Value):
    """What all the kinds of answer have."""

    verdict: Verdict


_OF: Mapping[type[Event], State] = STATE_OF
_STATES = {topic_of(event): _OF[event] for event in JUDGED}
