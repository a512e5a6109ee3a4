"""`voxrelay demo`: one job, start to finish, through the same doors and stages as any other.

Knows how a first-time user is told what happens. Refuses any short cut past HTTP: what it shows is
the relay at work.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from relay.codec import decode, head_of
from relay.process import Worker, run_workers
from relay.settings import Settings
from relay.spine import Spine, open_spine
from schemas.events import JudgedPrompt, PromptRejected
from voxrelay.stages import open_workers
from voxrelay.up import answers, environment, free_port, prepare
from voxrelay_client import AsyncClient, Refused

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDING = EXAMPLES / "mandarin.flac"
TEXT = "你好, 这段话由 VoxRelay 合成。Hello from the relay."
PATIENCE = 600.0
"""Seconds a job may take here; a slow laptop needs a fraction."""

_STAGE_OF = {
    "uploaded": "ingest",
    "approved": "moderation",
    "rejected": "moderation",
    "held": "moderation",
    "synthesized": "synth",
    "delivered": "delivery",
}


@dataclass
class Story:
    """What came of the job, as `--json` prints it."""

    job_id: str
    state: str = "accepted"
    audio: dict[str, Any] | None = None
    heard: str | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    spoken: dict[str, Any] | None = None
    why: str | None = None


class NotTaken(Exception):
    """The door refused the job; says why."""


async def demo(recording: Path | None, text: str | None, out: Path, *, as_json: bool) -> int:
    """Run the job and say what came of it; the exit code is 0 if speech was delivered."""
    tell = Teller(quiet=as_json)
    recording = recording or RECORDING
    if not recording.is_file():
        tell.fail(f"There is no file {recording}.")
        return 2
    tell.downloads()
    try:
        story = await _run(recording, text or TEXT, out, tell)
    except NotTaken as away:
        tell.fail(str(away))
        return 1
    tell.ending(story, recording)
    return 0 if story.state == "delivered" else 1


async def _run(recording: Path, text: str, out: Path, tell: Teller) -> Story:
    """Start the relay, run the job, and stop the relay again."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-demo-") as folder:
        port = free_port()
        os.environ.update(environment(Path(folder), port))
        settings = Settings()
        await prepare(settings)
        async with open_spine(settings) as spine, _everything(spine):
            tell.line("starting", "the relay, on this machine alone")
            await answers(port)
            async with AsyncClient(f"http://127.0.0.1:{port}", language="zh") as client:
                story = await _journey(client, recording, text, tell)
                await _collect(client, story, out)
            story.heard = await _heard(spine, story.job_id)
    return story


@asynccontextmanager
async def _everything(spine: Spine) -> AsyncIterator[None]:
    """Every stage as a task of this process; what breaks one is raised here."""
    async with open_workers(spine.settings.runs, spine) as workers:
        running = asyncio.create_task(run_workers(workers))
        try:
            yield
        finally:
            await _end(workers, running)


async def _end(workers: list[Worker], running: asyncio.Task[None]) -> None:
    for worker in workers:
        worker.stop()
    await running


async def _journey(client: AsyncClient, recording: Path, text: str, tell: Teller) -> Story:
    """Send the job and follow its events to the end."""
    begun = time.monotonic()
    try:
        accepted = await client.send(text, recording)
    except Refused as why:
        raise NotTaken(f"The recording or the text was refused: {why.detail}") from None
    story = Story(accepted.job_id)
    tell.line("accepted", f"job {story.job_id}")
    before: datetime | None = None
    async with asyncio.timeout(PATIENCE):
        async for event in client.events(story.job_id):
            story.state = event.state
            if before is not None:
                stage = _STAGE_OF.get(story.state, story.state)
                seconds = max(0.0, (event.at - before).total_seconds())
                story.stages.append({"stage": stage, "seconds": round(seconds, 3)})
                tell.line(story.state, f"{stage} took {seconds:.2f} s")
            before = event.at
    story.seconds = round(time.monotonic() - begun, 3)
    return story


async def _collect(client: AsyncClient, story: Story, out: Path) -> None:
    """Fetch the delivered file, and what the job's user may read."""
    job = await client.job(story.job_id)
    story.spoken, story.why = job.raw.get("spoken"), job.why
    if job.audio is None:
        return
    sound = await client.audio(job)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{story.job_id}.{job.audio.format}"
    path.write_bytes(sound)
    story.audio = {
        "path": str(path),
        "format": job.audio.format,
        "seconds": job.audio.seconds,
        "sha256": job.audio.sha256,
    }


async def _heard(spine: Spine, job: str) -> str | None:
    """What Whisper understood in the recording, from the log itself: no door shows it."""
    async for record in spine.log.read(["prompt-approved", "prompt-rejected", "prompt-held"]):
        if record.key == job:
            head = head_of(record)
            event = decode(record, head, await spine.keys.key(head.person))
            if isinstance(event, JudgedPrompt | PromptRejected):
                return event.transcript
    return None


class Teller:
    """Speaks to the person at the terminal; `quiet` leaves all to the JSON at the end."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def line(self, what: str, more: str) -> None:
        """One line of progress."""
        if not self._quiet:
            print(f"  {what:<12} {more}", flush=True)

    def fail(self, why: str) -> None:
        """Why nothing was begun."""
        print(json.dumps({"error": why}) if self._quiet else why, flush=True)

    def downloads(self) -> None:
        """What will be downloaded, and how large; nothing where all lies here."""
        if self._quiet:
            return
        from moderation import weights as hearing
        from synth import weights as voice

        folder = Settings().models
        lacking = [
            (source.file, source.bytes, source.origin)
            for source in [hearing.missing("base", folder=folder)]
            if source is not None
        ] + [
            (weight.file, weight.bytes, source.origin)
            for weight in voice.WEIGHTS
            if (source := voice.missing(weight, folder)) is not None
        ]
        for file, size, origin in lacking:
            print(f"Will download {file}, {size / 1e6:.0f} MB, from {origin}.")
        if not lacking:
            print(
                "Nothing to download: the weights of Whisper base and of the demo voice are here."
            )

    def ending(self, story: Story, recording: Path) -> None:
        """Where the result is, what it is, and what to do next."""
        if self._quiet:
            said = {k: v for k, v in vars(story).items() if k not in ("spoken", "why")}
            why = {} if story.why is None else {"reason": story.why}
            print(json.dumps({**said, **why}, ensure_ascii=False))
            return
        print(f"\n  heard in {recording.name}: {story.heard}")
        if story.audio is None:
            print(f"  no speech: {story.state}. {story.why or ''}")
            return
        voice = (story.spoken or {}).get("voice", "")
        print(
            f"  result: {story.audio['path']}\n"
            f"          {story.audio['seconds']:.1f} s, labelled as synthetic\n"
            f"\n  The voice is a stand-in: {voice}, of Kokoro's voices the one nearest to the\n"
            f"  recording. It cannot clone. For the recording's own voice, fetch CosyVoice3:\n"
            f"      voxrelay model pull cosyvoice3\n"
            f"  Your own recording and words:\n"
            f"      voxrelay demo --recording FILE --text TEXT\n"
            f"  The relay with its page:\n"
            f"      make up"
        )
