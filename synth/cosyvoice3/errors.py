"""What can go wrong in the engine, and what a caller should do about it.

    EngineError
    ├── Refused      this request cannot be spoken: tell its sender, do not retry
    ├── BadModel     the model folder is not what this engine reads: an operator must act
    ├── Exhausted    the device had no room even for one request alone: retry later
    └── Stopped      the engine is closed or its device is gone: load another

Whatever else comes out of the engine is a bug.
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of everything this engine raises on purpose."""


class Refused(EngineError):
    """A request outside the engine's limits.

    ``code`` is stable and meant for programs; the message is meant for the sender.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BadModel(EngineError):
    """A model folder lacks a file, or a file is not of the shape that is read here."""


class Exhausted(EngineError):
    """Out of memory with a batch of one: nothing is left to shrink."""


class Stopped(EngineError):
    """The engine was closed, or broke: its cause says why, and nothing more will be spoken."""
