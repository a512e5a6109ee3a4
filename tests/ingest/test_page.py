"""The page at `/` and the API's at `/docs`: whole by themselves, and used with a real browser."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from ingest.accounts import links
from schemas.states import State
from tests.accounts.test_sign_in import linked
from tests.ingest.by_hand import Chain, next_job
from tests.ingest.conftest import House, house, served
from tests.ingest.sounds import wav
from tests.servers import unavailable

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def source(name: str) -> str:
    return files("ingest.page").joinpath(name).read_text("utf-8")


def words(language: str) -> set[str]:
    """Keys of the page's words in `language`."""
    block = re.search(rf"^  {language}: {{.*?\] }},$", source("index.html"), re.M | re.S)
    assert block is not None
    text = re.sub(r'"[^"]*"', '""', block.group(0))
    return set(re.findall(r"(\w+): [\"\[]", text))


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_loads_nothing_from_strangers_and_runs_its_own_script_alone(
    gateway: House, path: str
) -> None:
    async with gateway.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=[\"'](https?:)?//", answer.text)
    assert not re.search(r"\son\w+=|\sstyle=|innerHTML", answer.text)


def test_both_languages_have_the_same_words_and_a_word_for_each_state() -> None:
    assert words("zh") == words("en")
    assert words("zh") >= {state.value for state in State}
    used = set(re.findall(r'data-[tp]="(\w+)"', source("index.html")))
    used |= set(re.findall(r'say\("(\w+)"\)', source("index.html")))
    assert used <= words("zh")


def test_the_page_says_that_what_it_plays_is_synthetic() -> None:
    assert "AI 合成 / synthetic" in source("index.html")


async def test_record_send_watch_and_listen_in_a_browser(tmp_path: Path) -> None:
    from playwright.async_api import async_playwright

    if CHROMIUM is None:
        unavailable("there is no chromium on this machine")

    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    async with house(tmp_path) as gateway, served(gateway) as address, async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=flags)
        context = await browser.new_context(locale="en-GB", permissions=["microphone"])
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        await page.goto(f"http://{address}/")
        await page.click("#send")
        await page.wait_for_selector("#error:has-text('record')")
        await page.click("#record")
        await page.locator("#clock", has_text=re.compile(r"^(1\.[89]|[2-9])")).wait_for()
        await page.click("#record")
        await page.wait_for_selector("#mine:not([hidden])")
        await page.fill("#text", "hello")
        await page.check("#consent")
        await page.click("#send")
        chain = await Chain.of(gateway, await next_job(gateway, set()))
        assert chain.prompt.recording.codec == "opus"
        await chain.uploaded()
        await chain.approved()
        await chain.delivered()
        await page.wait_for_selector("#result:not([hidden])")
        states = await page.eval_on_selector_all(
            "#steps li", "all => all.map(l => l.dataset.state)"
        )
        assert states == ["accepted", "uploaded", "approved", "delivered"]
        href = await page.get_attribute("#save", "href")
        assert href is not None
        assert "/audio?" in href
        await page.click("#language")
        assert await page.text_content("#send") == "生成语音"
        assert wrong == []
        await browser.close()


async def test_a_sign_in_link_opens_the_page_to_its_bearer_once(tmp_path: Path) -> None:
    from playwright.async_api import async_playwright

    if CHROMIUM is None:
        unavailable("there is no chromium on this machine")

    async with (
        house(tmp_path, anonymous=False) as gateway,
        served(gateway) as address,
        async_playwright() as play,
    ):
        link = links.spelled(f"http://{address}", await linked(gateway.database, gateway.keys))
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await (await browser.new_context(locale="en-GB")).new_page()
        await page.goto(link)
        await page.wait_for_selector("#error:has-text('signed in')")
        assert "sign-in" not in page.url
        # As after an hour: the access token is no good, the refresh token is.
        await page.evaluate("tokens.access_token = 'expired'")
        voice = {"name": "voice.wav", "mimeType": "audio/wav", "buffer": wav()}
        await page.set_input_files("#file", files=[voice])
        await page.fill("#text", "hello")
        await page.check("#consent")
        await page.click("#send")
        chain = await Chain.of(gateway, await next_job(gateway, set()))
        await chain.uploaded()
        await chain.delivered()
        await page.wait_for_selector("#result:not([hidden])")
        stranger = await (await browser.new_context(locale="en-GB")).new_page()
        await stranger.goto(link)
        await stranger.wait_for_selector("#error:has-text('used before')")
        await browser.close()
