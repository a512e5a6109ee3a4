"""What the page makes of a catalogue, of parts, of variants and of saved voices, in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.clients.browser import given, opened, sent, spoken, unnamed
from tests.clients.test_web import Relay, browser, relay
from tests.ingest.by_hand import Chain, jobs_of
from tests.ingest.sounds import wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

__all__ = ["browser", "relay"]


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, relay: Relay) -> AsyncIterator[Page]:
    async with opened(browser, relay.address, width=1_280) as page:
        yield page


async def test_a_style_and_a_dialect_are_one_choice(page: Page, relay: Relay) -> None:
    await given(page, wav())
    styles = page.get_by_role("radiogroup", name="Style")
    await styles.get_by_role("radio", name="Gentle").check()
    await page.get_by_role("radio", name="Sichuan").check()
    await expect(styles.get_by_role("radio", name="Gentle")).not_to_be_checked()
    chain = await sent(page, relay.house)
    assert (chain.prompt.style, chain.prompt.mode.value) == ("sichuan", "instruct")
    card = page.locator(f".job[data-job='{chain.head.key}']")
    await expect(card.get_by_role("heading", name="Sichuan")).to_be_visible()


async def test_again_is_the_same_manner_with_another_seed(page: Page, relay: Relay) -> None:
    await given(page, wav(), "once more")
    await page.get_by_role("radio", name="Gentle").check()
    chain = await sent(page, relay.house)
    await chain.uploaded()
    await chain.delivered(spoken())
    before = await jobs_of(relay.house)
    await page.get_by_role("button", name="Again", exact=True).click()
    await expect(page.locator(".job")).to_have_count(2)
    (again,) = await jobs_of(relay.house) - before
    prompt = (await Chain.of(relay.house, again)).prompt
    assert (prompt.text, prompt.style) == ("once more", "gentle")
    assert prompt.recording.sha256 == chain.prompt.recording.sha256
    assert prompt.seed != chain.prompt.seed


async def test_a_dialect_lesson_is_one_request_and_a_result_for_each(
    page: Page, relay: Relay
) -> None:
    await given(page, wav(3.0))
    await page.get_by_role("checkbox", name="Dialect lesson").check()
    lesson = page.get_by_role("group", name="Dialect")
    for dialect in ("Sichuan", "Cantonese", "Shanghainese"):
        await lesson.get_by_role("checkbox", name=dialect).check()
    before = await jobs_of(relay.house)
    await page.click("#send")
    await expect(page.locator(".job")).to_have_count(3)
    jobs = await jobs_of(relay.house) - before
    styles = {(await Chain.of(relay.house, job)).prompt.style for job in jobs}
    assert styles == {"cantonese", "sichuan", "shanghai"}
    first_first = ["Cantonese", "Shanghainese", "Sichuan"]
    await expect(page.locator(".job h3")).to_have_text(first_first)


async def test_a_large_file_goes_in_parts_and_on_after_a_part_was_lost(
    page: Page, relay: Relay
) -> None:
    methods = list[str]()

    async def lose(route: Route) -> None:
        methods.append(route.request.method)
        if methods.count("PATCH") == 2 and methods[-1] == "PATCH":
            await route.fetch()  # it arrives, and nobody hears of it
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/v1/uploads/*", lose)
    sound = wav(29.0, 48_000)
    await given(page, sound)
    chain = await sent(page, relay.house)
    assert chain.prompt.recording.seconds == pytest.approx(29.0, abs=0.05)
    assert methods.count("HEAD") == 1
    assert methods.count("PATCH") == -(-len(sound) // await part(page)) + 1


async def part(page: Page) -> int:
    """How many bytes the gateway wants at once."""
    said = await page.evaluate("async () => (await (await fetch('/v1/catalogue')).json()).limits")
    size: int = said["part_bytes"]
    return size


async def test_a_voice_is_saved_used_shared_and_taken_back(page: Page, relay: Relay) -> None:
    await given(page, wav(2.5))
    await page.get_by_role("button", name="Save this voice").click()
    await page.get_by_label("Name").fill("Mum")
    await page.get_by_label("Whose voice").select_option("other")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_label("or use a saved voice").select_option(label="Mum")
    await page.fill("#text", "with a saved voice")
    chain = await sent(page, relay.house)
    assert chain.prompt.recording.seconds == pytest.approx(2.5, abs=0.05)
    (kept,) = await page.evaluate("async () => (await (await fetch('/v1/voices')).json()).voices")
    assert kept["consent"]["of"] == "other"
    assert "its owner has agreed" in kept["consent"]["statement"]
    await page.get_by_role("link", name="Voices").click()
    voice = page.locator("#voices-list article", has_text="Mum")
    await voice.get_by_role("button", name="Share").click()
    assert len(await page.get_by_role("textbox", name="Code to share").input_value()) > 8
    await page.get_by_role("button", name="Close").click()
    assert await unnamed(page) == []
    await voice.get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(voice.get_by_role("button", name="Share")).to_have_count(0)
    await page.get_by_role("link", name="Speak").click()
    await expect(page.get_by_label("or use a saved voice")).to_be_hidden()


async def saved(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Save this voice").click()
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Save", exact=True).click()


async def test_a_voice_whose_answer_was_lost_is_saved_once(page: Page) -> None:
    lost = list[str]()

    async def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.request.url)
            await route.fetch()  # it arrives, and nobody hears of it
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/v1/voices", lose)
    await given(page, wav(2.2))
    await saved(page, "Twice")
    await expect(page.locator("#voice-error")).to_contain_text("cannot be reached")
    await saved(page, "Twice")
    await expect(page.get_by_label("or use a saved voice")).to_contain_text("Twice")
    await page.get_by_role("link", name="Voices").click()
    await expect(page.locator("#voices-list article", has_text="Twice")).to_have_count(1)


async def test_who_may_use_a_voice_is_listed_and_ended(page: Page) -> None:
    await given(page, wav(2.4))
    await saved(page, "Lent")
    await expect(page.get_by_label("or use a saved voice")).to_contain_text("Lent")
    await page.get_by_role("link", name="Voices").click()
    voice = page.locator("#voices-list article", has_text="Lent")
    await voice.get_by_text("Who may use it").click()
    await expect(voice).to_contain_text("Nobody else.")
    await voice.get_by_role("button", name="Share").click()
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    share = voice.locator("[data-share]")
    await expect(share).to_contain_text("nobody has shown yet")
    await page.route("**/shares/*", lambda route: route.abort())
    await share.get_by_role("button", name="Stop sharing").click()
    await expect(page.locator("#voices-error")).to_contain_text("cannot be reached")
    await expect(share).to_be_visible()
    await page.unroute("**/shares/*")
    await share.get_by_role("button", name="Stop sharing").click()
    await expect(voice).to_contain_text("Nobody else.")
    assert await unnamed(page) == []
