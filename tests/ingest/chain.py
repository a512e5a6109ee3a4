"""The events of a job, from the door to its end, with heads as the relay gives them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

from relay.stage import Context
from schemas.envelope import Head
from schemas.events import (
    Audio,
    AudioFormat,
    Event,
    JobFailed,
    Label,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    Reason,
    Recording,
    SpeechDelivered,
    SpeechSynthesized,
    Spoken,
    Verdict,
)
from schemas.topics import topic_of

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
REASON = Reason(code="word", rule="w1", where="text", message="A word is not allowed.")
SPOKEN = Spoken(engine="demo", voice="zf_001", version="1", digest="d", device="cpu", cloned=False)


@dataclass
class Chain:
    """One job's events; each call of `context` is a little later on the log."""

    job: UUID = field(default_factory=uuid4)
    person: UUID = field(default_factory=uuid4)
    at: datetime = START

    def context(self, event: Event, n: int = 0) -> Context:
        """What the relay lends for `event`; the same event gets the same id each time."""
        self.at += timedelta(seconds=1)
        head = Head(
            id=uuid5(self.job, f"{topic_of(event)}/{n}"),
            type=event.TYPE,
            source="voxrelay://test",
            time=START,
            person=self.person,
            key=str(self.job),
        )
        return Context(head, b"", self.at)

    @property
    def recording(self) -> Recording:
        return Recording(
            key=f"recording/{self.person}/r",
            sha256="00",
            seconds=3,
            sample_rate=16000,
            container="wav",
            codec="pcm_s16le",
        )

    def verdict(self, *reasons: Reason) -> Verdict:
        return Verdict(
            policy="p",
            policy_digest="d",
            code_version="1",
            hearing_model="base",
            hearing_digest="d",
            hearing_key=f"hearing/{self.person}/h",
            reasons=reasons,
        )

    def audio(self, kind: str) -> Audio:
        return Audio(
            key=f"{kind}/{self.person}/{self.job}",
            sha256="1",
            bytes=9,
            seconds=1,
            sample_rate=24000,
        )

    def uploaded(self) -> PromptUploaded:
        return PromptUploaded(
            text="你好", recording=self.recording, door="jobs", address="203.0.113.7"
        )

    def approved(self) -> PromptApproved:
        return PromptApproved(**self._judged())

    def held(self) -> PromptHeld:
        return PromptHeld(**self._judged(REASON))

    def reviewed(self) -> PromptReviewed:
        return PromptReviewed(**self._judged(REASON), approved=True, reviewer="somebody")

    def rejected(self) -> PromptRejected:
        return PromptRejected(
            text="你好",
            transcript="听到的",
            heard_language="zh",
            recording=self.recording,
            verdict=self.verdict(REASON),
        )

    def synthesized(self) -> SpeechSynthesized:
        return SpeechSynthesized(
            speech=self.audio("speech"),
            spoken=SPOKEN,
            seed=0,
            cached=False,
            format=AudioFormat.MP3,
        )

    def delivered(self) -> SpeechDelivered:
        return SpeechDelivered(
            audio=self.audio("delivered"),
            format=AudioFormat.MP3,
            spoken=SPOKEN,
            label=Label(aigc="{}", producer="voxrelay", produce_id="x"),
        )

    def failed(self) -> JobFailed:
        return JobFailed(stage="synth", code="too_long", message="Please send a shorter text.")

    def _judged(self, *reasons: Reason) -> dict[str, object]:
        return {
            "text": "你好",
            "recording": self.recording,
            "transcript": "听到的",
            "heard_language": "zh",
            "verdict": self.verdict(*reasons),
        }
