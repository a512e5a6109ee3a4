"""Traffic to be read again: prompts and their verdicts, made one after another while it is read.

Everything an event has is real: envelope, sealing, ids. Refuses to keep what it has made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.pipeline.jobs import BenchKeys, head_of_job, job, prompt_of
from moderation.hearing import Heard, Hearing, Sound
from moderation.policy import Policy, policy_key
from relay.codec import encode
from relay.errors import Missing
from relay.log.port import Message, Record
from schemas.events import PromptApproved, PromptUploaded, Verdict
from schemas.topics import topic_of

START = datetime(2026, 1, 1, tzinfo=UTC)
UPLOADED, APPROVED = topic_of(PromptUploaded), topic_of(PromptApproved)
_HEARD = "今天天气真好，我们下午去公园散步"


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt and the verdict on it, as they are appended."""

    uploaded: Message
    approved: Message


def jobs(count: int, policy: Policy, keys: BenchKeys) -> Iterator[Job]:
    """`count` jobs, approved under `policy`."""
    approved = verdicts(count, policy, keys)
    return (Job(job(n), each) for n, each in enumerate(approved))


def verdicts(count: int, policy: Policy, keys: BenchKeys) -> Iterator[Message]:
    """What was said of the first `count` jobs."""
    verdict = Verdict(
        policy=policy.name,
        policy_digest=policy.digest,
        code_version="0.1.0",
        hearing_model="whisper-base",
        hearing_digest="digest",
        hearing_key="hearing/",
    )
    for n in range(count):
        head = head_of_job(n)
        prompt = prompt_of(head.person)
        approved = PromptApproved(
            text=prompt.text,
            recording=prompt.recording,
            transcript=_HEARD,
            heard_language="zh",
            verdict=verdict.model_copy(update={"hearing_key": f"hearing/{head.person}/{n}"}),
        )
        child = head.child(APPROVED, 0, PromptApproved.TYPE)
        yield encode(approved, child, keys.of(head.person))


class Stream:
    """A log that makes its records while it is read; as far as a replay looks."""

    def __init__(self, count: int, policy: Policy, keys: BenchKeys) -> None:
        self._count, self._policy, self._keys = count, policy, keys

    async def read(self, topics: Sequence[str], *_: object, **__: object) -> AsyncIterator[Record]:
        """Records of `topics`, a microsecond apart."""
        for n, message in enumerate(self._messages(topics)):
            at = START + timedelta(microseconds=n)
            yield Record(message.topic, 0, n, message.key, message.value, message.headers, at)

    def _messages(self, topics: Sequence[str]) -> Iterator[Message]:
        """Prompts where they are asked for, else verdicts: a replay reads one, then the other."""
        if UPLOADED in topics:
            return map(job, range(self._count))
        return verdicts(self._count, self._policy, self._keys)


class Objects:
    """A store that has a hearing under every key, and one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        sound = Sound(seconds=4.0, level=-20.0, floor=-60.0, clipped=0.0)
        hearing = Hearing(
            text=_HEARD,
            language="zh",
            language_probability=0.99,
            no_speech_prob=0.01,
            avg_logprob=-0.2,
            compression_ratio=1.0,
            seconds=4.0,
        )
        self._heard = Heard(sound=sound, hearing=hearing).model_dump_json().encode()

    async def get(self, key: str) -> bytes:
        """The bytes under `key`."""
        if key.startswith("hearing/"):
            return self._heard
        if key == policy_key(self._policy.digest):
            return self._policy.document
        raise Missing(key)
