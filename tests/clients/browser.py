"""A real browser whose microphone hears real speech, and what a user does in the page."""

from __future__ import annotations

import base64
import shutil
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
from playwright.async_api import Browser, Page, async_playwright

from tests.ingest.by_hand import Chain, jobs_of, next_job
from tests.ingest.conftest import House
from tests.ingest.sounds import encoded
from tests.servers import unavailable

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_MS = 30_000
RATE = 48_000
DROP = """([bytes, name]) => {
  const given = new DataTransfer();
  const sound = Uint8Array.from(atob(bytes), each => each.charCodeAt(0));
  given.items.add(new File([sound], name, { type: "audio/wav" }));
  const event = new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true });
  document.getElementById("voice-card").dispatchEvent(event);
}"""
UNNAMED = {"button", "textbox", "checkbox", "radio", "combobox", "slider", "link", "meter"}
"""Roles that say nothing to whoever cannot see them, unless they have a name."""


def speech(language: str = "mandarin") -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """A person who says a sentence."""
    with av.open(str(EXAMPLES / f"{language}.flac")) as file:
        convert = av.AudioResampler("s16", "mono", RATE)
        frames = [part for frame in file.decode(audio=0) for part in convert.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def written(path: Path) -> Path:
    """That sentence as a file, such as a browser takes for its microphone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(speech().tobytes())
    return path


def spoken() -> bytes:
    """Speech as it is delivered."""
    return encoded(speech("english"), "mp3", "mp3", RATE)


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """Debian's Chromium; who grants the microphone hears speech."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        unavailable("there is no chromium on this machine")
    heard = written(folder / "heard.wav")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={heard}")
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=found, args=flags)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    address: str,
    *,
    locale: str = "en-GB",
    microphone: bool = True,
    width: int = 390,
) -> AsyncIterator[Page]:
    """The page in a browser of its own; no script of it may fail."""
    context = await browser.new_context(
        locale=locale,
        permissions=["microphone"] if microphone else [],
        viewport={"width": width, "height": 844},
    )
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(f"http://{address}/" if "//" not in address else address)
    await page.wait_for_selector("body[data-ready], #sign-in:not([hidden])")
    yield page
    assert wrong == []
    await context.close()


async def given(page: Page, sound: bytes, text: str = "hello") -> None:
    """Everything a job needs, the voice from a file."""
    await page.check("#consent")
    voice = {"name": "voice.wav", "mimeType": "audio/wav", "buffer": sound}
    await page.set_input_files("#file", files=[voice])
    await page.wait_for_selector("#verdict:not([hidden])")
    await page.fill("#text", text)


async def sent(page: Page, house: House) -> Chain:
    """The job that pressing the button makes."""
    before = await jobs_of(house)
    await page.click("#send")
    return await Chain.of(house, await next_job(house, before))


async def drop(page: Page, sound: bytes) -> None:
    """Let a file fall on the page."""
    await page.evaluate(DROP, [base64.b64encode(sound).decode(), "dropped.wav"])


async def unnamed(page: Page) -> list[str]:
    """Controls in the accessibility tree that have no name."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    shown = [node for node in tree["nodes"] if not node["ignored"]]
    assert any(node["role"]["value"] == "button" for node in shown), "an empty tree"
    return [
        node["role"]["value"]
        for node in shown
        if node["role"]["value"] in UNNAMED and not node.get("name", {}).get("value")
    ]
