"""The tree of errors. A class exists only where someone catches it differently.

    RelayError
    ├── Unavailable      our world is down: keep the record, retry for ever
    ├── Lost             our world is out of this process's reach: end it, and blame no record
    ├── BadRecord        this record is bad: end its job with a code and a message
    │   └── Missing      an object that an event names is gone
    ├── PersonErased     the record's person was erased: end its job as `erased`
    ├── Fenced           somebody else owns this partition or source now: discard and claim again
    ├── OutcomeUnknown   a commit may or may not have happened: claim again and read what is true
    └── Misconfigured    refuse to start; names the setting and what to do

Anything else that escapes a handler is a bug and belongs to its record.
"""

from __future__ import annotations

from relay.objects.kinds import revocable


class RelayError(Exception):
    """Root of the errors that the spine tells apart."""


class Unavailable(RelayError):
    """A part of our own world (store, broker, database, GPU) does not answer."""


class Lost(RelayError):
    """A part of our own world that this process cannot reach again, but a new one may.

    A GPU after a fault: whatever the process asks of it from then on fails.
    """


class BadRecord(RelayError):
    """This record cannot be handled, now or later.

    `code` is stable and for programs; `message` is a sentence a user can act on.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Missing(BadRecord):
    """An object that an event names is not in the store: gone, or a voice that was taken back."""

    def __init__(self, key: str) -> None:
        if revocable(key):
            super().__init__("voice_revoked", "The voice of this job was revoked.")
        else:
            gone = "A file this job needs is gone. Please send it again."
            super().__init__("object_missing", gone)
        self.key = key


class PersonErased(RelayError):
    """The person's key was destroyed; sealed fields are holes."""


class Fenced(RelayError):
    """Another owner holds what we held; nothing of ours was committed."""


class OutcomeUnknown(RelayError):
    """The connection broke in mid-commit; only the log knows what it kept."""


class Misconfigured(RelayError):
    """A setting is missing or wrong, or the log is not set up for us."""
