"""How long a stranger may keep a connection without coming to the point.

Knows uvicorn's h11 protocol: when it waits for a head, or for the rest of a body that nobody wants
any more. Refuses to know doors; the time for a body that is wanted is the gateway's to give.
"""

from __future__ import annotations

import asyncio
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""From the first byte of a request, or the opening of a connection, to the end of its head."""


class PatientProtocol(H11Protocol):
    """Closes a connection that drips; uvicorn itself counts only the silence between requests."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _waits(self) -> bool:
        """For a head, or for what is left of a body that has been answered."""
        theirs, ours = self.conn.their_state, self.conn.our_state
        return theirs is h11.IDLE or (theirs is h11.SEND_BODY and ours is h11.DONE)

    def _watch(self) -> None:
        if not self._waits():
            self._forget()
        elif self._timer is None:  # each further drop changes nothing
            self._timer = self.loop.call_later(HEAD_SECONDS, self._over)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        if self._waits():
            self.transport.close()
