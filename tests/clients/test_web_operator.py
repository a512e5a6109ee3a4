"""After delivery, and the operator's view, in a browser: what waits is seen and decided there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from infra.topics import apply
from schemas.events import PromptReviewed
from tests.audit.test_doors import events_of, held
from tests.audit.test_waiting import kill
from tests.clients.browser import given, opened, sent, spoken, unnamed
from tests.clients.test_web import Relay, browser
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import house, served
from tests.ingest.sounds import wav
from tests.ingest.test_remarks import later

pytestmark = pytest.mark.asyncio(loop_scope="module")

__all__ = ["browser"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    data = tmp_path_factory.mktemp("operator")
    async with house(data, local_operator=True) as gateway, served(gateway) as address:
        await apply(gateway.spine.log, gateway.spine.settings)
        yield Relay(gateway, address)


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, relay: Relay) -> AsyncIterator[Page]:
    async with opened(browser, relay.address, width=1_280) as page:
        yield page


async def job(page: Page, relay: Relay) -> Chain:
    """One that was sent and judged."""
    await given(page, wav())
    chain = await sent(page, relay.house)
    await chain.uploaded()
    return chain


async def test_a_result_is_played_rated_reported_and_shared(page: Page, relay: Relay) -> None:
    chain = await job(page, relay)
    await expect(page.locator(".job .doing")).to_contain_text("next")
    await chain.delivered(spoken())
    await page.get_by_role("button", name="Play B").click()
    await page.get_by_role("radio", name="4 of 5 stars").check()
    await expect(page.locator(".job .doing")).to_contain_text("Thank you")
    await page.get_by_role("button", name="Report").click()
    await page.get_by_label("Why").select_option("fraud")
    await page.get_by_label("Note").fill("a trick")
    await page.get_by_role("button", name="Send the report").click()
    await expect(page.locator(".job .doing")).to_contain_text("report was received")
    await page.get_by_role("button", name="Share").click()
    link = await page.get_by_role("textbox", name="Link to share").input_value()
    assert "/s/" in link
    assert await unnamed(page) == []
    await page.get_by_role("dialog").get_by_role("button", name="Copy").click()
    await page.locator("#text").press("Control+V")
    await expect(page.locator("#text")).to_have_value(f"hello{link}")
    said = {type(event).__name__: event for _, event in await later(relay.house, chain.head.key)}
    assert said.keys() >= {"SpeechPlayed", "SpeechRated", "SpeechReported"}
    assert said["SpeechRated"].stars == 4
    assert (said["SpeechReported"].reason, said["SpeechReported"].note) == ("fraud", "a trick")


async def test_what_is_shared_is_listed_and_withdrawn(page: Page, relay: Relay) -> None:
    chains = [await job(page, relay) for _ in range(2)]
    for chain in chains:
        await chain.delivered(spoken())
    await page.get_by_role("link", name="History").click()
    line = page.locator(f"#past details[data-job='{chains[0].head.key}']")
    await line.locator("summary").click()
    await line.get_by_role("button", name="Share", exact=True).click()
    link = await page.get_by_role("textbox", name="Link to share").input_value()
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await expect(line.locator("summary .badge")).to_have_text("shared")
    await page.reload()  # it is the relay that knows what is shared
    await page.get_by_role("checkbox", name="Only what is shared").check()
    other = page.locator(f"#past details[data-job='{chains[1].head.key}']")
    await expect(other).to_have_count(0)
    await line.locator("summary").click()
    await expect(line.get_by_role("link", name="Open the link")).to_have_attribute("href", link)
    assert (await page.request.get(f"{link}/speech")).status == 200
    assert await unnamed(page) == []
    await line.get_by_role("button", name="Withdraw the link").click()
    await page.get_by_role("dialog").get_by_role("button", name="Withdraw the link").click()
    await expect(line.locator("[data-public]")).to_be_hidden()
    await expect(line.locator("summary .badge")).to_be_hidden()
    assert (await page.request.get(f"{link}/speech")).status == 404
    await page.reload()
    await page.get_by_role("checkbox", name="Only what is shared").check()
    await expect(line).to_have_count(0)


async def test_a_rejection_is_appealed(page: Page, relay: Relay) -> None:
    chain = await job(page, relay)
    await chain.rejected()
    await page.get_by_role("button", name="Appeal").click()
    await page.get_by_label("Note").fill("a line of a play")
    await page.get_by_role("button", name="Send the appeal").click()
    await expect(page.locator(".job .doing")).to_contain_text("appeal was received")
    await page.get_by_role("link", name="Operator").click()
    item = page.locator("#review-list article", has_text="a line of a play")
    await item.get_by_role("button", name="Play A").click()
    await expect(item.get_by_role("button", name="Pause A")).to_be_visible()
    outcome = page.locator(f"#past details[data-job='{chain.head.key}'] [data-complaint]")
    for decided, told in ((False, "a person will look"), (True, "you were right")):
        if decided:
            await page.get_by_role("link", name="Operator").click()
            await item.get_by_role("button", name="Approve").click()
            await page.get_by_label("Reason").fill("it is one")
            await page.get_by_role("dialog").get_by_role("button", name="Approve").click()
            await expect(item).to_have_count(0)
        await page.get_by_role("link", name="History").click()
        await page.locator(f"#past details[data-job='{chain.head.key}'] summary").click()
        await expect(outcome).to_contain_text(told)
    assert await page.locator("#past").get_by_role("button", name="Appeal").count() == 0


async def test_the_operator_decides_what_waits(page: Page, relay: Relay) -> None:
    at = await held(relay.house)
    letter = await kill(relay.house.spine)
    await page.get_by_role("link", name="Operator").click()
    item = page.locator(f"#review-list article[data-item='{at.key}']")
    await expect(item).to_contain_text("Heard in the recording: 今天天气很好")
    dead = page.locator("#dead-list article", has_text=letter.key)
    await expect(dead).to_contain_text("handler_failed")
    await expect(page.locator("#status-facts")).to_contain_text("ready")
    assert await unnamed(page) == []
    await item.get_by_role("button", name="Approve").click()
    await page.get_by_label("Reason").fill("a line of a play")
    await page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    await expect(item).to_have_count(0)
    (review,) = await events_of(relay.house, PromptReviewed)
    assert (review.approved, review.note) == (True, "a line of a play")
    await dead.get_by_role("button", name="Redrive").click()
    await expect(dead).to_have_count(0)


async def test_what_waits_is_seen_page_by_page(page: Page, relay: Relay) -> None:
    # One was decided on before, and the view has not seen it yet: it is not in anybody's way.
    waiting = {(await held(relay.house)).key for _ in range(3)}
    letters = {(await kill(relay.house.spine)).key for _ in range(2)}

    async def smaller(route: Route) -> None:
        await route.continue_(url=re.sub(r"limit=\d+", "limit=1", route.request.url, count=1))

    await page.route("**/v1/review?*", smaller)
    await page.route("**/v1/dead?limit=50", smaller)
    await page.get_by_role("link", name="Operator").click()
    queue, dead = page.locator("#review-list"), page.locator("#dead-list")
    await expect(queue.locator("article")).to_have_count(1)
    while await (more := queue.get_by_role("button", name="More")).count():
        shown = await queue.locator("article").count()
        await more.click()
        await expect(queue.locator("article")).to_have_count(shown + 1)
    ids = [await each.get_attribute("data-item") for each in await queue.locator("article").all()]
    assert waiting <= set(ids)
    assert len(ids) == len(set(ids))
    await dead.get_by_role("button", name="More").click()
    for letter in letters:
        await expect(dead.locator("article", has_text=letter)).to_have_count(1)
    await expect(dead.get_by_role("button", name="More")).to_have_count(0)


async def test_a_view_that_cannot_be_had_says_so(page: Page) -> None:
    await page.route("**/v1/jobs?*", lambda route: route.abort())
    await page.get_by_role("link", name="History").click()
    await expect(page.locator("#notice")).to_contain_text("cannot be reached")
    await page.unroute("**/v1/jobs?*")
    await page.get_by_role("link", name="Speak").click()
    await expect(page.locator("#notice")).to_be_hidden()


async def test_who_is_no_operator_is_shown_no_such_view(browser: Browser, relay: Relay) -> None:
    scopes = '{"person": "%s", "role": "user", "scopes": ["jobs:read", "jobs:send"]}' % ("0" * 32)
    async with opened(browser, relay.address) as page:
        await expect(page.get_by_role("link", name="Operator")).to_be_visible()
        await page.route("**/v1/session", lambda route: route.fulfill(body=scopes))
        await page.reload()
        await page.wait_for_selector("body[data-ready]")
        await expect(page.get_by_role("link", name="History")).to_be_visible()
        await expect(page.get_by_role("link", name="Operator")).to_be_hidden()
