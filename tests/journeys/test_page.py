"""The page in a real browser, from the microphone to comparing: every stage, the real models."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.clients.browser import PATIENCE_MS, chromium, opened
from tests.journeys.conftest import House

expect.set_options(timeout=PATIENCE_MS)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(400)]

SPOKEN_MS = 150_000
HEARD = "audio => new Promise(done => audio.addEventListener('ended', () => done(audio.duration)))"


async def test_a_voice_is_recorded_spoken_and_compared(house: House, tmp_path: Path) -> None:
    async with chromium(tmp_path) as browser, opened(browser, house.url) as page:
        await recorded(page)
        card = await sent(page, "今天天气真好。")
        await expect(card).to_have_attribute("data-state", "delivered", timeout=SPOKEN_MS)
        states = await card.locator(".way li").evaluate_all("all => all.map(l => l.dataset.state)")
        assert states == ["accepted", "approved", "synthesized", "delivered"]
        await expect(card.get_by_text("AI 合成 / synthetic")).to_be_visible()
        assert await listened(card, "B") > 0.5
        assert await listened(card, "A") > 2, "what the microphone heard"
        job = await card.get_attribute("data-job")
        await page.get_by_role("link", name="History").click()
        line = page.locator(f"#past details[data-job='{job}']")
        await line.locator("summary").click()
        await expect(line.get_by_role("button", name="Play B")).to_be_visible()


async def test_what_may_not_be_said_is_told_with_its_reason(house: House, tmp_path: Path) -> None:
    async with chromium(tmp_path) as browser, opened(browser, house.url) as page:
        await recorded(page)
        card = await sent(page, "这里出售枪支。")
        await expect(card).to_have_attribute("data-state", "rejected", timeout=SPOKEN_MS)
        await expect(card.locator("audio")).to_have_count(0)


async def recorded(page: Page) -> None:
    """Three seconds of a person who reads into the microphone."""
    await page.get_by_role("checkbox", name="This is my own voice").check()
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(page.locator("#left")).to_have_text(re.compile(r"^[0-6]\."))
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#verdict")).to_have_text("Sounds good.")


async def sent(page: Page, text: str) -> Locator:
    """The card of the job that pressing the button makes."""
    await page.get_by_role("textbox", name="Words", exact=True).fill(text)
    await page.click("#send")
    return page.locator(".job").first


async def listened(card: Locator, which: str) -> float:
    """Seconds of one of both sounds, played to its end."""
    end = asyncio.create_task(card.locator("audio").nth("AB".index(which)).evaluate(HEARD))
    await card.get_by_role("button", name=f"Play {which}").click()
    return float(await end)
