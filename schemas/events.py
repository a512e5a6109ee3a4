"""What happened, as versioned models: one class an event, its name the topic's words.

Knows every event's fields and its type string. Refuses to know headers, topics' settings and keys.
A published version only ever gains optional fields; whatever else changes gets a new version.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.sealed import Sealed


class Mode(StrEnum):
    """How the voice is asked to speak."""

    ZERO_SHOT = "zero_shot"
    CROSS_LINGUAL = "cross_lingual"
    INSTRUCT = "instruct"


class AudioFormat(StrEnum):
    """What the delivered file is."""

    MP3 = "mp3"
    WAV = "wav"
    M4A = "m4a"


class Value(BaseModel):
    """A frozen part of an event; fields a newer writer added are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Event(Value):
    """Something that happened. `TYPE` is its CloudEvents type, version included."""

    TYPE: ClassVar[str]


class Recording(Value):
    """A stored recording: mono FLAC under `key`, and what the uploaded file was."""

    key: str
    sha256: str
    seconds: float = Field(gt=0)
    sample_rate: int = Field(gt=0)
    container: str
    codec: str
    aigc: str | None = None
    """The AIGC tag the uploaded file bore, if it bore one."""


class Audio(Value):
    """A stored sound object of ours."""

    key: str
    sha256: str
    bytes: int = Field(gt=0)
    seconds: float = Field(ge=0)
    sample_rate: int = Field(gt=0)


class Reason(Value):
    """Why a prompt was not simply approved; `message` is what its user may read."""

    code: str
    rule: str
    where: str
    message: str


class Verdict(Value):
    """By what a prompt was judged: policy, code and weights, and the rules that fired."""

    policy: str
    """Name and version of the policy."""
    policy_digest: str
    code_version: str
    hearing_model: str
    hearing_digest: str
    hearing_key: str | None = None
    """Object that holds what was heard; None where the recording was refused unheard."""
    reasons: tuple[Reason, ...] = ()


class Spoken(Value):
    """Which voice spoke."""

    engine: str
    voice: str
    version: str
    digest: str
    device: str
    cloned: bool
    """False where a stand-in spoke instead of the recording's own voice."""


class Label(Value):
    """What the delivered file says of itself."""

    aigc: str
    producer: str
    produce_id: str


class Prompt(Event):
    """What a user asked for: carried from the door to delivery by every event on the way."""

    text: Sealed[str]
    mode: Mode = Mode.ZERO_SHOT
    instruct: Sealed[str | None] = None
    style: str | None = None
    speed: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    format: AudioFormat = AudioFormat.MP3
    language: str | None = None
    """BCP 47 language of the recording, given by the user; None means detect it."""
    recording: Recording


class PromptUploaded(Prompt):
    """A text and a recording were accepted at a door."""

    TYPE: ClassVar[str] = "voxrelay.prompt-uploaded.v1"

    door: str
    address: Sealed[str | None] = None
    """The client's address behind the trusted proxies."""


class JudgedPrompt(Prompt):
    """A prompt with what was heard in its recording and how it was judged."""

    transcript: Sealed[str]
    heard_language: str
    verdict: Verdict


class PromptApproved(JudgedPrompt):
    """The prompt may be spoken."""

    TYPE: ClassVar[str] = "voxrelay.prompt-approved.v1"


class Asked(Event):
    """What was asked for and by what code it was judged, told again by what follows from it.

    So that whoever counts one event needs no other. Older releases told nothing: both are None.
    """

    style: str | None = None
    code_version: str | None = None


class PromptRejected(Asked):
    """The prompt may not be spoken; its reasons say why."""

    TYPE: ClassVar[str] = "voxrelay.prompt-rejected.v1"

    text: Sealed[str]
    transcript: Sealed[str | None] = None
    heard_language: str | None = None
    recording: Recording
    verdict: Verdict


class PromptHeld(JudgedPrompt):
    """A person has to decide; carries all that `PromptApproved` would."""

    TYPE: ClassVar[str] = "voxrelay.prompt-held.v1"


class PromptReviewed(JudgedPrompt):
    """A person decided; repeats what was held, so moderation needs this event alone."""

    TYPE: ClassVar[str] = "voxrelay.prompt-reviewed.v1"

    approved: bool
    reviewer: str
    note: Sealed[str | None] = None


class SpeechSynthesized(Asked):
    """The text was spoken; mono FLAC at the voice's own rate lies in the store."""

    TYPE: ClassVar[str] = "voxrelay.speech-synthesized.v1"

    speech: Audio
    spoken: Spoken
    seed: int
    cached: bool
    """True where the same recipe had been spoken before."""
    format: AudioFormat


class SpeechDelivered(Asked):
    """The labelled file lies in the store; this event's id is the notification's id."""

    TYPE: ClassVar[str] = "voxrelay.speech-delivered.v1"

    audio: Audio
    format: AudioFormat
    spoken: Spoken
    label: Label
    fingerprint: Sealed[str | None] = None
    """What the speech is recognised by without its label (`relay.fingerprint`), as base64."""


class JobFailed(Event):
    """The job ended without speech; `code` and `message` are for its user."""

    TYPE: ClassVar[str] = "voxrelay.job-failed.v1"

    stage: str
    code: str
    message: str


class AccessRecorded(Event):
    """Somebody read what the relay keeps, as an auditor; written before they saw any of it."""

    TYPE: ClassVar[str] = "voxrelay.access-recorded.v1"

    actor: Sealed[str]
    """Who, by the name they gave or the system's; sealed under a key of their own."""
    reason: Sealed[str | None] = None
    action: str
    opened: bool
    """Whether personal fields were opened."""
    job: str | None = None
    subject: UUID | None = None
    """The person it was about, where it was about one."""
    scope: dict[str, str] = Field(default_factory=dict)
    """What else was asked for, by the options' names."""


class AuditRootPublished(Event):
    """An hour of the log has closed: the hash that stands for its records, signed."""

    TYPE: ClassVar[str] = "voxrelay.audit-root-published.v1"

    hour: AwareDatetime
    records: int = Field(ge=0)
    root: str
    statement: str
    """The words that are signed."""
    key: str
    """Public key, in hex."""
    signature: str


class PersonErased(Event):
    """A person's key was destroyed, and all that lay under their name: what is certified of it.

    Nothing personal: the person is the random id that every event of theirs bears.
    """

    TYPE: ClassVar[str] = "voxrelay.person-erased.v1"

    person: UUID
    destroyed: AwareDatetime
    """When the key was: from then on nothing sealed could be opened."""
    objects: int = Field(ge=0)
    root: str
    """Merkle root of the objects' keys and hashes; the certificate lists them."""
    statement: str
    """The words that are signed."""
    signer: str
    """Public key, in hex."""
    signature: str


class RequestRefused(Event):
    """A door turned a request away, or several: those beyond what is told one by one are counted.

    Nothing that the request said: its person is that of its address, or an id that follows from it.
    """

    TYPE: ClassVar[str] = "voxrelay.request-refused.v1"

    code: str
    status: int
    door: str
    """Path of the door, `other` where there is none of that name; empty where many are counted."""
    count: int = Field(default=1, ge=1)
    size: int | None = Field(default=None, ge=0)
    """Bytes of the body that had come."""
    body: str | None = None
    """HMAC of the body's SHA-256 under a secret of the site, where it had come whole."""


class Complaint(StrEnum):
    """What somebody says is wrong with speech that was delivered."""

    NOT_MY_VOICE = "not_my_voice"
    OFFENSIVE = "offensive"
    FRAUD = "fraud"
    QUALITY = "quality"
    OTHER = "other"


class SpeechPlayed(Asked):
    """Its person listened to what was delivered, for the first time."""

    TYPE: ClassVar[str] = "voxrelay.speech-played.v1"

    spoken: Spoken


class SpeechRated(Asked):
    """Its person said how good it is; once."""

    TYPE: ClassVar[str] = "voxrelay.speech-rated.v1"

    stars: int = Field(ge=1, le=5)
    note: Sealed[str | None] = None
    spoken: Spoken


class SpeechReported(Event):
    """Somebody says that something is wrong with it; a person has to look."""

    TYPE: ClassVar[str] = "voxrelay.speech-reported.v1"

    reason: Complaint
    note: Sealed[str | None] = None
    shared: bool
    """By somebody without an account, at a page that its person had shared."""
    spoken: Spoken


class PromptAppealed(Event):
    """Its person says that it should not have been rejected; another person has to look."""

    TYPE: ClassVar[str] = "voxrelay.prompt-appealed.v1"

    note: Sealed[str]


class ComplaintDecided(Event):
    """A person looked at a report or an appeal."""

    TYPE: ClassVar[str] = "voxrelay.complaint-decided.v1"

    about: UUID
    """Id of the event that complained."""
    upheld: bool
    """Whether whoever complained was right."""
    reviewer: str
    note: Sealed[str | None] = None


class Whose(StrEnum):
    """Who speaks in a voice that somebody saves."""

    SELF = "self"
    OTHER = "other"


class VoiceSaved(Event):
    """A person saved a voice, and said by whose consent; keyed by the person."""

    TYPE: ClassVar[str] = "voxrelay.voice-saved.v1"

    voice: UUID
    name: Sealed[str]
    statement: Sealed[str]
    """What was agreed to, word by word."""
    of: Whose
    language: str | None = None
    recording: Recording


class VoiceRevoked(Event):
    """A saved voice was taken back: from then on nothing is spoken in it; keyed by the person."""

    TYPE: ClassVar[str] = "voxrelay.voice-revoked.v1"

    voice: UUID


EVENTS: tuple[type[Event], ...] = (
    PromptUploaded,
    PromptApproved,
    PromptRejected,
    PromptHeld,
    PromptReviewed,
    SpeechSynthesized,
    SpeechDelivered,
    JobFailed,
)

"""What happens to a job."""

AFTERWARDS: tuple[type[Event], ...] = (
    SpeechPlayed,
    SpeechRated,
    SpeechReported,
    PromptAppealed,
    ComplaintDecided,
)
"""What people make of a job that has ended; changes its state no more."""

LEDGER: tuple[type[Event], ...] = (
    AccessRecorded,
    AuditRootPublished,
    PersonErased,
    RequestRefused,
    VoiceSaved,
    VoiceRevoked,
)
"""What happens to the log itself, or to a person; belongs to no job."""

BY_TYPE: dict[str, type[Event]] = {event.TYPE: event for event in (*EVENTS, *AFTERWARDS, *LEDGER)}
