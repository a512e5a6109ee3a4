"""The page, used by a real browser on a real gateway; the stages behind it are moved by hand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from infra.servers.process import free_port
from ingest.accounts import links
from schemas.states import TERMINAL, State
from synth.cosyvoice3.marks import spell
from tests.accounts.test_sign_in import linked
from tests.clients.browser import PATIENCE_MS, chromium, drop, given, opened, sent, spoken, unnamed
from tests.ingest.by_hand import REASON, Chain, jobs_of
from tests.ingest.conftest import House, house, served
from tests.ingest.sounds import Pcm, encoded, tone, wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

expect.set_options(timeout=PATIENCE_MS)

SOUNDS = "[...document.querySelectorAll('.job audio')].map(a => [!a.paused, a.currentTime])"
TALLEST = """() => [...document.querySelectorAll(".job canvas")].map(canvas => {
  const { width, height } = canvas, pen = canvas.getContext("2d");
  const found = pen.getImageData(0, 0, width, height).data;
  const rows = new Set();
  for (let at = 3; at < found.length; at += 4) if (found[at]) rows.add(Math.floor(at / 4 / width));
  return rows.size / height;
})"""
READINGS = """async () => {
  const { mark, readingsOf } = await import("/page/readings.js");
  const han = Array.from({ length: 0x9fa6 - 0x4e00 }, (_, n) => String.fromCharCode(0x4e00 + n));
  return han.flatMap(each => readingsOf(each).map(reading => [each, reading, mark(reading)]));
}"""


@dataclass(frozen=True)
class Relay:
    """A gateway and where it is."""

    house: House
    address: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium(tmp_path_factory.mktemp("heard")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    async with house(tmp_path_factory.mktemp("web")) as gateway, served(gateway) as address:
        yield Relay(gateway, address)


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, relay: Relay) -> AsyncIterator[Page]:
    async with opened(browser, relay.address) as page:
        yield page


async def test_from_the_microphone_to_comparing_what_was_said(page: Page, relay: Relay) -> None:
    await page.click("#record")
    await expect(page.locator("#voice-error")).to_contain_text("confirm first")
    await page.get_by_role("checkbox", name="This is my own voice").check()
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(page.get_by_role("meter", name="Level")).to_have_attribute(
        "aria-valuenow", re.compile(r"^([3-9]\d|100)$")
    )
    await expect(page.locator("#left")).to_have_text(re.compile(r"^[0-7]\."))
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#verdict")).to_have_text("Sounds good.")
    await page.get_by_role("textbox", name="Words", exact=True).fill("Hello there.")
    chain = await sent(page, relay.house)
    assert chain.prompt.recording.codec == "opus"
    assert chain.prompt.recording.seconds > 2
    await chain.uploaded()
    await chain.approved()
    card = page.locator(f".job[data-job='{chain.head.key}']")
    await expect(card.locator(".doing")).to_have_text(re.compile("^Being spoken"))
    await chain.delivered(spoken())
    await expect(card.get_by_role("slider")).to_have_count(2)
    states = await card.locator(".way li").evaluate_all("all => all.map(l => l.dataset.state)")
    assert states == ["accepted", "approved", "delivered"]
    await expect(card.get_by_text("AI 合成 / synthetic")).to_be_visible()
    await expect(card.get_by_role("link", name="Download")).to_have_attribute(
        "href", re.compile("/audio\\?")
    )
    await card.get_by_role("button", name="Play B").click()
    await expect(card.get_by_role("button", name="Pause B")).to_be_visible()
    await card.get_by_role("button", name="Switch A / B").click()
    await expect(card.get_by_role("button", name="Pause A")).to_be_visible()
    recording, result = await page.evaluate(SOUNDS)
    assert (recording[0], result[0]) == (True, False)
    assert result[1] > 0
    assert min(await page.evaluate(TALLEST)) > 0.5, "both have a waveform"
    assert await unnamed(page) == []


async def test_a_job_is_found_again_after_a_reload(page: Page, relay: Relay) -> None:
    await given(page, wav())
    chain = await sent(page, relay.house)
    await chain.uploaded()
    card = page.locator(f".job[data-job='{chain.head.key}']")
    await expect(card).to_be_visible()
    await page.reload()
    await expect(card).to_have_attribute("data-state", "uploaded")
    await chain.delivered(spoken())
    await expect(card.get_by_role("button", name="Play B")).to_be_visible()
    await page.get_by_role("link", name="History").click()
    line = page.locator(f"#past details[data-job='{chain.head.key}']")
    await line.locator("summary").click()
    await expect(line.get_by_role("button", name="Again")).to_be_visible()


async def test_a_restart_of_the_gateway_costs_no_job(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    async with house(tmp_path) as gateway, served(gateway, port) as address:
        context = opened(browser, address)
        page = await context.__aenter__()
        await given(page, wav())
        chain = await sent(page, gateway)
        card = page.locator(f".job[data-job='{chain.head.key}']")
        await expect(card).to_be_visible()
    await expect(page.locator("#lost")).to_be_visible()
    async with house(tmp_path) as gateway, served(gateway, port):
        await expect(page.locator("#lost")).to_be_hidden()
        chain = await Chain.of(gateway, chain.head.key)
        await chain.uploaded()
        await chain.delivered(spoken())
        await expect(card.get_by_role("button", name="Play B")).to_be_visible()
        await context.__aexit__(None, None, None)


async def test_a_request_whose_answer_was_lost_is_sent_again_and_is_one_job(
    page: Page, relay: Relay
) -> None:
    before, tries = await jobs_of(relay.house), 0

    async def lose(route: Route) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    await given(page, wav())
    await page.route("**/v1/jobs", lose)
    await page.click("#send")
    await expect(page.locator(".job")).to_have_count(1)
    assert tries == 2
    assert len(await jobs_of(relay.house) - before) == 1


async def test_a_refused_microphone_is_explained_and_a_file_will_do(
    browser: Browser, relay: Relay
) -> None:
    async with opened(browser, relay.address, microphone=False) as page:
        await page.check("#consent")
        await page.click("#record")
        await expect(page.locator("#voice-error")).to_contain_text("Allow it in the site settings")
        await expect(page.get_by_role("button", name="Choose a file")).to_be_focused()
        await given(page, wav())
        assert (await sent(page, relay.house)).prompt.recording.codec == "pcm_s16le"


def file_of(pcm: Pcm) -> bytes:
    return encoded(pcm, "wav", "pcm_s16le", 16_000)


HEARD = {
    "hardly any sound": wav(silent=True),
    "very quiet": file_of(tone(2) // 20),
    "too loud": file_of((tone(2).astype("i4") * 8).clip(-32_768, 32_767).astype("<i2")),
    "too short: at least 1 s": wav(0.4),
    "cannot preview": b"no sound at all",
    "Sounds good.": wav(),
}


async def test_a_dropped_file_is_judged_before_it_is_sent(page: Page) -> None:
    await drop(page, wav())
    await expect(page.locator("#voice-error")).to_contain_text("confirm first")
    await expect(page.locator("#verdict")).to_be_hidden()
    await page.check("#consent")
    for said, sound in HEARD.items():
        await drop(page, sound)
        await expect(page.locator("#verdict")).to_contain_text(said)


async def test_a_refusal_says_why(page: Page, relay: Relay) -> None:
    await given(page, wav())
    chain = await sent(page, relay.house)
    await chain.uploaded()
    await chain.rejected()
    card = page.locator(f".job[data-job='{chain.head.key}']")
    await expect(card.get_by_role("status")).to_have_text(REASON["message"])
    await expect(card.locator("audio")).to_have_count(0)


async def test_what_is_missing_is_asked_for_before_anything_is_sent(page: Page) -> None:
    await page.click("#send")
    await expect(page.locator("#error")).to_contain_text("record or choose a file")
    await drop(page, wav())
    await page.check("#consent")
    await drop(page, wav())
    await page.click("#send")
    await expect(page.locator("#error")).to_contain_text("enter a text")
    await page.fill("#text", "x" * 5_001)
    await expect(page.locator("#count")).to_have_text("5001 / 5000")
    await page.click("#send")
    await expect(page.locator("#error")).to_contain_text("5000 characters at most")


async def test_a_character_is_marked_with_its_reading(browser: Browser, relay: Relay) -> None:
    async with opened(browser, relay.address, locale="zh-CN") as page:
        assert await page.get_attribute("html", "lang") == "zh-CN"
        await page.fill("#text", "她好干净。")
        await page.get_by_role("button", name="标注多音字").click()
        await page.get_by_role("button", name="好，有多种读音").click()
        await page.get_by_role("button", name="hào", exact=True).click()
        text = page.locator("#text")
        await expect(text).to_have_value("她[h][ào]干净。")
        await page.get_by_role("button", name="净").click()
        await page.get_by_label("拼音").fill("jing4")
        await page.get_by_role("button", name="使用").click()
        await expect(text).to_have_value("她[h][ào]干[j][ìng]。")
        readings = await page.evaluate(READINGS)
        assert len({character for character, *_ in readings}) > 80
        for character, reading, mark in readings:
            assert "".join(spell(f"[{reading}]") or ()) == mark, (character, reading)
        await page.get_by_role("button", name="Switch to English").click()
        await expect(page.get_by_role("button", name="Make speech")).to_be_visible()
        assert await page.input_value("#text") == "她[h][ào]干[j][ìng]。", "nothing was lost"
        assert await unnamed(page) == []


async def test_both_languages_have_the_same_words_and_a_word_for_each_state(page: Page) -> None:
    words = await page.evaluate("async () => (await import('/page/words.js')).WORDS")
    assert words["zh"].keys() == words["en"].keys()
    assert words["zh"].keys() >= {f"state_{state}" for state in State}
    assert words["zh"].keys() >= {f"now_{state}" for state in set(State) - TERMINAL}
    for key, english in words["en"].items():
        facts = re.compile(r"\{\w+\}")
        assert set(facts.findall(english)) == set(facts.findall(words["zh"][key])), key


async def test_a_sign_in_link_opens_the_page_once_and_tokens_are_renewed(
    browser: Browser, tmp_path: Path
) -> None:
    async with house(tmp_path, anonymous=False) as gateway, served(gateway) as address:
        link = links.spelled(f"http://{address}", await linked(gateway.database, gateway.keys))
        async with opened(browser, link) as page:
            await expect(page.locator("#notice")).to_contain_text("signed in")
            assert "sign-in" not in page.url
            # As after an hour: the access token is no good, the refresh token is.
            await page.evaluate(
                "sessionStorage.tokens = JSON.stringify({ ...JSON.parse(sessionStorage.tokens), "
                "access_token: 'expired' })"
            )
            await given(page, wav())
            chain = await sent(page, gateway)
            await chain.uploaded()
            await chain.delivered(spoken())
            await expect(page.get_by_role("button", name="Play B")).to_be_visible()
        async with opened(browser, link) as stranger:
            await expect(stranger.locator("#sign-in-error")).to_contain_text("used before")
            await expect(stranger.locator("#speak")).to_be_hidden()
