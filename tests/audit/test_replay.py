"""Judging again finds exactly what a changed policy changes, goes on where it stopped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.rejudge import Change, Ruling, Tally, Unheard, again, restored
from audit.replay import JUDGED as JUDGED_BY
from audit.replay import Scope
from moderation.hearing import Heard, Hearing, Sound
from moderation.policy import Policy, load_policy, read_policy, restore_policy
from relay.errors import Misconfigured
from relay.log.port import Record
from relay.settings import Settings
from relay.spine import open_spine
from schemas.events import PromptUploaded, Recording, Verdict
from schemas.states import State
from schemas.topics import DEAD, TOPICS, topic_of
from tests.audit.relay import TEXTS, Lived
from voxrelay.replaying import judge_again

SHIPPED = Path("moderation/policies/default.toml").read_text()
STRICTER = SHIPPED.replace(
    'id = "fraud"\nkind = "words"\naction = "hold"',
    'id = "fraud"\nkind = "words"\naction = "reject"',
)
LAXER = SHIPPED.replace(
    'id = "weapons"\nkind = "words"\naction = "reject"',
    'id = "weapons"\nkind = "words"\naction = "note"',
)
QUIET = SHIPPED.replace("below = -60.0", "below = -0.0")
"""Everything is silent to it."""
JUDGED = len(TEXTS) - 1
"""All but the erased one."""


@pytest.fixture(params=["sqlite", "kafka"])
def house(request: pytest.FixtureRequest) -> Lived:
    name = "lived" if request.param == "sqlite" else "lived_on_kafka"
    found: Lived = request.getfixturevalue(name)
    return found


async def ask(
    house: Lived, policy: Path | None, scope: Scope | None = None, state: Path | None = None
) -> Tally:
    async with open_spine(house.settings) as spine:
        return await judge_again(spine, scope or Scope(), policy, state, rehear=False)


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        file = tmp_path / "policy.toml"
        file.write_text(text)
        return file

    return written


async def test_nothing_changes_under_the_policy_of_then(house: Lived) -> None:
    tally = await ask(house, None)
    assert (tally.judged, tally.changed) == (JUDGED, 0)
    assert tally.left_out == {"erased": 1}
    assert tally.code.total() == JUDGED


@pytest.mark.parametrize(
    ("text", "move", "fates", "appears", "vanishes"),
    [
        (STRICTER, "held -> rejected", ("approved", "refused", "held"), {}, {}),
        (LAXER, "rejected -> approved", ("rejected",), {}, {}),
    ],
    ids=["stricter", "laxer"],
)
async def test_exactly_the_expected_verdicts_change(
    house: Lived,
    policy: Callable[[str], Path],
    text: str,
    move: str,
    fates: tuple[str, ...],
    appears: dict[str, int],
    vanishes: dict[str, int],
) -> None:
    assert text != SHIPPED
    tally = await ask(house, policy(text))
    assert tally.moves == {move: len(fates)}
    assert {each["job"] for each in tally.examples[move]} == {house.jobs[fate] for fate in fates}
    assert (tally.appears, tally.vanishes) == (appears, vanishes)
    assert tally.causes == {"policy": len(fates)}


async def test_a_rule_that_looks_at_the_sound_uses_what_was_measured_then(
    lived: Lived, policy: Callable[[str], Path]
) -> None:
    tally = await ask(lived, policy(QUIET))
    assert tally.changed == JUDGED
    assert tally.appears["silent"] == JUDGED
    assert tally.moves["approved -> rejected"] == 4


async def test_a_recording_that_nobody_listened_to_is_measured_but_not_made_up(
    lived: Lived, policy: Callable[[str], Path]
) -> None:
    deafer = SHIPPED.replace("below = -50.0", "below = -59.0")
    assert deafer != SHIPPED
    tally = await ask(lived, policy(deafer))
    assert tally.left_out == {"erased": 1, "not heard then": 1}
    louder = SHIPPED.replace("below = -50.0", "below = -51.0")
    assert (await ask(lived, policy(louder))).changed == 0


async def test_only_the_scope_is_judged(lived: Lived, policy: Callable[[str], Path]) -> None:
    none = Scope(until=datetime(2020, 1, 1, tzinfo=UTC))
    assert (await ask(lived, None, none)).judged == 0
    half = [(await ask(lived, None, Scope(sample=0.5))).judged for _ in range(2)]
    assert half[0] == half[1] < JUDGED


async def test_each_policy_is_made_ready_once_however_many_prompts_it_judged(
    lived: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def counted(document: bytes) -> Policy:
        made.append(document)
        return restore_policy(document)

    monkeypatch.setattr("audit.replay.restore_policy", counted)
    assert (await ask(lived, None)).judged == JUDGED > 1
    assert len(made) == len(set(made)) == 1


async def test_a_sample_keeps_no_verdict_of_others(lived: Lived, tmp_path: Path) -> None:
    state = tmp_path / "state"
    scope = Scope(sample=0.5)
    tally = await ask(lived, None, scope, state)
    with closing(sqlite3.connect(state)) as line:
        kept = line.execute("select count(*) from answers").fetchone()[0]
    async with open_spine(lived.settings) as spine:
        answers = [r async for r in spine.log.read([topic_of(event) for event in JUDGED_BY])]
    assert kept == sum(map(scope.holds, answers)) < len(answers)
    assert tally.judged <= kept


async def test_it_goes_on_where_it_was_interrupted_and_counts_nothing_twice(
    lived: Lived, policy: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.replay.CHUNK", 2)
    whole = await ask(lived, policy(STRICTER))
    state = tmp_path / "state"
    steps = 0

    class Interrupted(Exception):
        pass

    def interrupt() -> Callable[[Tally], None]:
        def tell(_: Tally) -> None:
            nonlocal steps
            steps += 1
            if steps in (1, 3):
                raise Interrupted

        return tell

    monkeypatch.setattr("voxrelay.replaying._progress", interrupt)
    for _ in range(2):
        with pytest.raises(Interrupted):
            await ask(lived, policy(STRICTER), state=state)
    assert await ask(lived, policy(STRICTER), state=state) == whole
    with pytest.raises(Misconfigured, match="another question"):
        await ask(lived, policy(LAXER), state=state)
    state.write_text("no state file at all, but text")
    with pytest.raises(Misconfigured, match="cannot be used"):
        await ask(lived, policy(LAXER), state=state)


async def test_it_writes_nothing_to_log_and_store(
    lived: Lived, policy: Callable[[str], Path]
) -> None:
    before = await everything(lived.settings)
    await ask(lived, policy(STRICTER))
    assert await everything(lived.settings) == before


async def everything(settings: Settings) -> tuple[list[Record], list[str]]:
    async with open_spine(settings) as spine:
        topics = [*(topic.name for topic in TOPICS), *DEAD]
        records = [record async for record in spine.log.read(topics)]
        return records, [stat.key async for stat in spine.store.list("")]


async def test_a_hearing_that_is_gone_is_left_out_and_counted(
    lived: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_spine(lived.settings) as spine:
        key = next(iter([s.key async for s in spine.store.list("hearing/")]))
        was = await spine.store.get(key)
        await spine.store.delete(key)
        try:
            tally = await judge_again(spine, Scope(), None, None, rehear=False)
        finally:
            await spine.store.put(key, was, "application/json")
    assert tally.left_out["recording or hearing gone"] >= 1
    assert tally.judged + tally.left_out.total() == len(TEXTS)


# -- pure -----------------------------------------------------------------------------------------

PROMPT = PromptUploaded(
    text="你好",
    door="jobs",
    recording=Recording(
        key="recording/p/r", sha256="0", seconds=3, sample_rate=16000, container="wav", codec="x"
    ),
)
SOUND = Sound(seconds=3, level=-20, floor=-60, clipped=0)
HEARD = Heard(
    sound=SOUND,
    hearing=Hearing(
        text="大家好",
        language="zh",
        language_probability=1,
        no_speech_prob=0,
        avg_logprob=-0.1,
        compression_ratio=1,
        seconds=3,
    ),
)
POLICY = load_policy()
SILENT = Heard(sound=SOUND.model_copy(update={"level": -70.0}))


def test_a_recording_that_nobody_heard_is_judged_where_the_policy_needs_no_ear() -> None:
    assert again(PROMPT, HEARD, POLICY) == Ruling(State.APPROVED, frozenset())
    assert again(PROMPT, SILENT, POLICY).state is State.REJECTED
    with pytest.raises(Unheard):
        again(PROMPT, Heard(sound=SOUND), POLICY)


def test_a_policy_that_would_not_have_listened_knows_nothing_of_what_was_heard() -> None:
    deaf = read_policy(QUIET.replace('id = "nobody-speaks"', 'id = "x"'), Path())
    loud = HEARD.model_copy(
        update={"hearing": HEARD.hearing and HEARD.hearing.model_copy(update={"text": ""})}
    )
    assert ("x", "recording") not in again(PROMPT, loud, deaf).fired
    assert ("x", "recording") in again(PROMPT, loud, deaf, as_then=True).fired


def test_a_tally_is_small_however_much_it_saw_and_comes_back_as_it_was() -> None:
    verdict = Verdict(
        policy="p", policy_digest="d", code_version="1", hearing_model="m", hearing_digest="e"
    )
    tally = Tally()
    before = Ruling(State.APPROVED, frozenset({("a", "text")}))
    after = Ruling(State.HELD, frozenset({("b", "text")}))
    for n in range(100):
        tally.saw(verdict, Change(str(n), before, after, "policy"))
    tally.saw(verdict, None)
    assert (tally.judged, tally.changed) == (101, 100)
    assert tally.moves == {"approved -> held": 100}
    assert (tally.appears, tally.vanishes) == ({"b": 100}, {"a": 100})
    assert len(tally.examples["approved -> held"]) == 5
    assert restored(json.loads(json.dumps(tally.told))) == tally


def test_a_share_of_the_jobs_is_about_that_share_and_always_the_same() -> None:
    now = datetime.now(UTC)
    records = [Record("t", 0, n, f"job-{n}", b"", (), now) for n in range(4000)]
    held = [scope_holds for r in records if (scope_holds := Scope(sample=0.25).holds(r))]
    assert 800 < len(held) < 1200
    wider = {r.key for r in records if Scope(sample=0.5).holds(r)}
    assert {r.key for r in records if Scope(sample=0.25).holds(r)} < wider
