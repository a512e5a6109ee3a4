"""What a user does, in words: send, follow, listen. And what the log says of it afterwards."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import httpx
from httpx_sse import EventSource

from relay.log.open import open_log
from relay.settings import Settings
from schemas.topics import BY_NAME

EXAMPLES = Path(__file__).parents[2] / "examples"
ENDED = ("delivered", "rejected", "failed")
PATIENCE = 150.0


def recording(name: str = "mandarin") -> bytes:
    """A short recording of real speech."""
    return (EXAMPLES / f"{name}.flac").read_bytes()


def send(
    client: httpx.Client,
    text: str = "你好, 世界。",
    *,
    key: str | None = None,
    sound: bytes | None = None,
    **more: str,
) -> str:
    """Send a job by multipart; its id."""
    answer = client.post(
        "/v1/jobs",
        data={"text": text, **more},
        files={"recording": recording() if sound is None else sound},
        headers={"Idempotency-Key": key} if key else {},
    )
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["job_id"]
    return job


def events(client: httpx.Client, job: str, after: int | None = None) -> Iterator[dict[str, Any]]:
    """The job's events as they come, until it has ended; not where it stands in the queue."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    path = f"/v1/jobs/{job}/events"
    with client.stream("GET", path, headers=headers, timeout=PATIENCE) as stream:
        assert stream.status_code == 200, stream.read()
        for sent in EventSource(stream).iter_sse():
            if sent.event == "state":
                event = sent.json()
                yield event
                if event["state"] in ENDED:
                    return


def until(client: httpx.Client, job: str, state: str) -> None:
    """Return once the job has come to `state`."""
    for event in events(client, job):
        if event["state"] == state:
            return
    raise AssertionError(f"job {job} ended without coming to {state}")


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    """The job, once it has ended."""
    for _ in events(client, job):
        pass
    shown: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    assert shown["ended"], shown
    return shown


def listen(sound: bytes) -> tuple[str, float, Mapping[str, str]]:
    """Codec, seconds and tags of a file that a player can play."""
    with av.open(io.BytesIO(sound)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        tags = {**container.metadata, **stream.metadata}
        return stream.codec_context.name, samples / stream.rate, tags


def told(settings: Settings, job: str) -> list[tuple[str, str]]:
    """(topic, ce_id) of every committed event of the job, in all topics."""
    return asyncio.run(_told(settings, job))


async def _told(settings: Settings, job: str) -> list[tuple[str, str]]:
    log = open_log(settings)
    try:
        return [
            (record.topic, dict(record.headers)["ce_id"].decode())
            async for record in log.read(list(BY_NAME))
            if record.key == job
        ]
    finally:
        await log.close()


def settings_of(values: Mapping[str, str]) -> Settings:
    """What stages read from these variables; our own environment stays as it is."""
    fields = {name.removeprefix("VOXRELAY_").lower(): value for name, value in values.items()}
    return Settings.model_validate(fields)
