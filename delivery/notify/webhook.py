"""The adapter to receivers: one POST to an address that was checked, and what came of it.

Knows HTTP, and that the connection goes to the very address that was judged: the name is only for
the certificate and the Host header. Reads no body, follows no redirect. Refuses to know retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from delivery.notify.decide import Outcome
from relay.outward import Address, Outward, Refused, Target

PATIENCE = 15.0
"""Seconds that a receiver may take, as Standard Webhooks recommends."""


class Poster:
    """Sends notices outside."""

    def __init__(self, outward: Outward, patience: float = PATIENCE) -> None:
        self._outward, self._patience = outward, patience
        # No connection is kept: the next one is to be judged anew.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(
            timeout=patience, trust_env=False, follow_redirects=False, limits=limits
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()
        self._outward.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Tell the receiver at `url`."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._posted(await self._outward.find(url), body, headers)
        except Refused as refused:
            return Outcome(refused.code)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome("timed_out")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Outcome("not_reached")

    async def _posted(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """The first of the target's addresses that takes a connection is the one that is told."""
        *others, last = target.addresses
        for address in others:
            try:
                return await self._asked(target, address, body, headers)
            except httpx.ConnectError:
                continue
        return await self._asked(target, last, body, headers)

    async def _asked(
        self, target: Target, address: Address, body: bytes, headers: Mapping[str, str]
    ) -> Outcome:
        named = httpx.URL(target.url)
        request = self._http.build_request(
            "POST",
            named.copy_with(host=str(address)),
            content=body,
            headers={
                **headers,
                "host": named.netloc.decode("ascii"),
                "content-type": "application/json",
                "user-agent": "VoxRelay",
            },
            extensions={"sni_hostname": target.host},
        )
        answer = await self._http.send(request, stream=True)
        await answer.aclose()
        redirects = 300 <= answer.status_code < 400
        return Outcome("redirected" if redirects else "answered", answer.status_code)
