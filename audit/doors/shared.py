"""What the doors share: who may ask, what they may be refused, and where they read.

Knows scopes. Refuses to know how a caller proves who they are, and where sound is heard.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from relay.errors import RelayError
from relay.spine import Spine

REVIEW, DEAD, AUDIT = "review", "dead", "audit"
"""What a caller has to be allowed."""
MOST = 200
"""Letters, and findings, in one answer."""


class Refused(RelayError):
    """There is no such thing, or it cannot be done; composition turns the code into an answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Who:
    """Who is at a door: a name of at most 32 characters, which is written down."""

    name: str


class Porter(Protocol):
    """Who knows callers, and addresses of sound."""

    async def who(self, connection: HTTPConnection, scope: str) -> Who:
        """The caller, if they are allowed `scope`; else it raises what becomes the answer."""

    async def sound(self, connection: HTTPConnection, job: UUID) -> Mapping[str, str | None]:
        """`recording_url` and `audio_url` of a job, as far as there are any."""


def _spine(connection: HTTPConnection) -> Spine:
    spine: Spine = connection.app.state.spine
    return spine


def _history(connection: HTTPConnection) -> Spine:
    spine: Spine = connection.app.state.history
    return spine


def porter(connection: HTTPConnection) -> Porter:
    """Who was put at these doors."""
    stands_here: Porter = connection.app.state.porter
    return stands_here


def _allowed(scope: str) -> Callable[[HTTPConnection], Awaitable[Who]]:
    async def who(connection: HTTPConnection) -> Who:
        return await porter(connection).who(connection, scope)

    return who


Opened = Annotated[Spine, Depends(_spine)]
Past = Annotated[Spine, Depends(_history)]
"""With what was archived; nothing waits there for a word any more."""
Reviewer = Annotated[Who, Depends(_allowed(REVIEW))]
Undertaker = Annotated[Who, Depends(_allowed(DEAD))]
Auditor = Annotated[Who, Depends(_allowed(AUDIT))]
Why = Annotated[str | None, Query(max_length=500, description="Why you look; sealed.")]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What may be answered instead, for the document of the doors."""
    problem = {"schema": {"$ref": "#/components/schemas/ProblemShown"}}
    return {
        status: {"description": "Refused", "content": {"application/problem+json": problem}}
        for status in (401, 403, *statuses, 503)
    }
