"""Writes the example of an event that has none yet; what was once shipped is never written again.

python -m tests.schemas.make_examples
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import schemas
from relay.codec import encode
from relay.keys import KEY_BYTES, PersonKey
from schemas.envelope import Head
from schemas.events import (
    AccessRecorded,
    Audio,
    AudioFormat,
    AuditRootPublished,
    Complaint,
    ComplaintDecided,
    Event,
    JobFailed,
    Label,
    Mode,
    PersonErased,
    PromptAppealed,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    Reason,
    Recording,
    RequestRefused,
    SpeechDelivered,
    SpeechPlayed,
    SpeechRated,
    SpeechReported,
    SpeechSynthesized,
    Spoken,
    Verdict,
    VoiceRevoked,
    VoiceSaved,
    Whose,
)
from schemas.topics import topic_of

FOLDER = Path(schemas.__file__).parent / "examples"
KEY = PersonKey(bytes(range(KEY_BYTES)))
"""The key of the person in the examples; nobody's else."""
PERSON = UUID("7f0c1b9e-52c4-4a52-9c6a-3a6c0e6d7b11")
JOB = UUID("0b8f5a3e-7d0f-4b6e-8a55-6a0f2b9c4d21")

VOICE = UUID("4c1c8d5e-2f0b-4f0a-9a34-1d1d7f6c9e02")

_RECORDING = Recording(
    key=f"recording/{PERSON}/3f5a",
    sha256="9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",
    seconds=4.2,
    sample_rate=16000,
    container="mp3",
    codec="mp3",
)
_VERDICT = Verdict(
    policy="default/1",
    policy_digest="b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
    code_version="0.1.0",
    hearing_model="base",
    hearing_digest="7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730",
    hearing_key=f"hearing/{PERSON}/77aa",
)
_REASON = Reason(
    code="word_listed", rule="words", where="text", message="The text holds a word we may not say."
)
_SPOKEN = Spoken(
    engine="kokoro", voice="jf_alpha", version="1.0", digest="2cf2", device="cpu", cloned=False
)
_AUDIO = Audio(
    key=f"speech/{PERSON}/aa01", sha256="2cf24d", bytes=48211, seconds=3.9, sample_rate=24000
)
_PROMPT = {"text": "你好, 世界", "recording": _RECORDING}
_JUDGED = {
    **_PROMPT,
    "mode": Mode.INSTRUCT,
    "instruct": "请用广东话表达。",
    "transcript": "今天天气很好",
    "heard_language": "zh",
    "verdict": _VERDICT,
}
_ASKED = {"style": "gentle", "code_version": "0.1.0"}

EXAMPLES: dict[str, Event] = {
    "plain": PromptUploaded(**_PROMPT, door="jobs", address="192.0.2.7"),
    "tts": PromptUploaded(
        **_PROMPT, door="tts", mode=Mode.CROSS_LINGUAL, style="gentle", speed=1.2, seed=7
    ),
    "approved": PromptApproved(**_JUDGED),
    "word-as-asked": PromptRejected(
        text="…",
        recording=_RECORDING,
        verdict=_VERDICT.model_copy(update={"reasons": (_REASON,)}),
        **_ASKED,
    ),
    "held": PromptHeld(**_JUDGED),
    "reviewed": PromptReviewed(**_JUDGED, approved=True, reviewer="operator", note="harmless"),
    "spoken-as-asked": SpeechSynthesized(
        speech=_AUDIO, spoken=_SPOKEN, seed=0, cached=False, format=AudioFormat.MP3, **_ASKED
    ),
    "delivered-as-asked": SpeechDelivered(
        audio=_AUDIO,
        format=AudioFormat.MP3,
        spoken=_SPOKEN,
        label=Label(aigc="1", producer="voxrelay", produce_id=str(JOB)),
        fingerprint="AAECAwQFBgc=",
        **_ASKED,
    ),
    "failed": JobFailed(stage="synth", code="prompt_too_short", message="Please record longer."),
    "trail": AccessRecorded(
        actor="rita", reason="complaint 17", action="trail", opened=True, job=str(JOB)
    ),
    "hour": AuditRootPublished(
        hour=datetime(2026, 1, 2, 3, tzinfo=UTC),
        records=0,
        root="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        statement='{"site":"voxrelay://example"}',
        key="d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        signature="AA==",
    ),
    "certificate": PersonErased(
        person=PERSON,
        destroyed=datetime(2026, 1, 2, 3, tzinfo=UTC),
        objects=0,
        root="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        statement='{"site":"voxrelay://example"}',
        signer="d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        signature="AA==",
    ),
    "quota": RequestRefused(
        code="quota_exceeded",
        status=429,
        door="/tts",
        size=48_211,
        body="9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",
    ),
    "counted": RequestRefused(code="quota_exceeded", status=429, door="", count=1017),
    "voice": VoiceSaved(
        voice=VOICE,
        name="妈妈",
        statement="我同意用我的声音合成语音。",
        of=Whose.OTHER,
        language="zh",
        recording=_RECORDING.model_copy(update={"key": f"voice/{PERSON}/{VOICE}"}),
    ),
    "revoked": VoiceRevoked(voice=VOICE),
    "played-as-asked": SpeechPlayed(**_ASKED, spoken=_SPOKEN),
    "rated-as-asked": SpeechRated(stars=4, note="很像我", **_ASKED, spoken=_SPOKEN),
    "reported": SpeechReported(
        reason=Complaint.NOT_MY_VOICE, note="这是我母亲的声音", shared=True, spoken=_SPOKEN
    ),
    "appealed": PromptAppealed(note="这是一句台词"),
    "upheld": ComplaintDecided(about=UUID(int=18), upheld=True, reviewer="operator", note="seen"),
}


def head(event: Event, n: int) -> Head:
    """The head of the `n`-th example."""
    return Head(
        id=UUID(int=n + 1),
        type=event.TYPE,
        source="voxrelay://example",
        time=datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
        person=PERSON,
        key=str(JOB),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def path(event: Event, name: str) -> Path:
    """`<topic>/<version>/<name>.json`."""
    return FOLDER / topic_of(event) / event.TYPE.rpartition(".")[2] / f"{name}.json"


def main() -> None:
    for n, (name, event) in enumerate(EXAMPLES.items()):
        target = path(event, name)
        if target.exists():
            continue
        message = encode(event, head(event, n), KEY)
        record = {
            "key": message.key,
            "headers": {name: value.decode() for name, value in message.headers},
            "value": json.loads(message.value),
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    main()
