"""What a client may offer, as the gateway tells it."""

from __future__ import annotations

from ingest.doors.catalogue import CatalogueShown
from schemas.events import Mode
from synth.styles import resolve
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import House
from tests.ingest.test_jobs import send


async def told(gateway: House) -> CatalogueShown:
    async with gateway.client() as client:
        return CatalogueShown.model_validate((await client.get("/v1/catalogue")).json())


async def test_every_name_that_is_offered_can_be_spoken(gateway: House) -> None:
    said = await told(gateway)
    assert len(said.dialects) == 17
    assert not {each.name for each in said.styles} & {each.name for each in said.dialects}
    for style in (*said.styles, *said.dialects):
        assert resolve(Mode.ZERO_SHOT, None, style.name, 1.0).style == style.name
    sichuan = next(each for each in said.dialects if each.label.zh == "四川话")
    assert sichuan.instruct == resolve(Mode.ZERO_SHOT, None, sichuan.name, 1.0).instruct


async def test_limits_are_those_of_the_settings(gateway: House) -> None:
    limits, settings = (await told(gateway)).limits, gateway.app.state.gateway.settings
    assert (limits.text, limits.recording_bytes) == (settings.text_limit, settings.max_body)
    assert limits.recording_seconds.most == settings.recording_max_seconds


async def test_whether_voices_are_cloned_is_what_was_spoken_last(gateway: House) -> None:
    assert (await told(gateway)).engine.clones is None
    async with gateway.client() as client:
        await (await Chain.of(gateway, (await send(client)).json()["job_id"])).delivered()
    assert (await told(gateway)).engine.clones is False
