"""The auditor's commands as a person spells them."""

from __future__ import annotations

import json
import zipfile
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from audit.bundle import members
from tests.audit.relay import TEXTS, Lived
from voxrelay.audit import app


def said(ask: CliRunner, *words: str, code: int = 0) -> Result:
    done = ask.invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


def test_a_trail_is_printed_for_people_and_for_programs(ask: CliRunner, lived: Lived) -> None:
    job = lived.jobs["rejected"]
    shown = said(ask, "trail", job).output
    assert TEXTS["rejected"] in shown
    assert "id=weapons" in shown
    document = json.loads(said(ask, "trail", job, "--json").output)
    assert [step["topic"] for step in document["steps"]] == ["prompt-uploaded", "prompt-rejected"]


def test_a_hole_is_printed_as_one(ask: CliRunner, lived: Lived) -> None:
    shown = said(ask, "trail", lived.jobs["erased"]).output
    assert TEXTS["erased"] not in shown
    assert "(erased)" in shown


def test_a_search_prints_a_line_of_json_for_each_find(ask: CliRunner, lived: Lived) -> None:
    lines = said(ask, "trail", "--rule", "weapons", "--json").output.splitlines()
    assert [json.loads(line)["job"] for line in lines] == [lived.jobs["rejected"]]


def test_an_unknown_job_and_a_wrong_time_are_refused(ask: CliRunner) -> None:
    assert "No job" in said(ask, "trail", "nothing", code=1).output
    assert "yesterday" in said(ask, "trail", "--since", "yesterday", code=2).output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--verdict", "delivered", "--rule", "weapons"], "approved"),
        (["--refused", "--rule", "weapons"], "no rule"),
        (["--refused", "--verdict", "held"], "no verdict"),
        ([str(UUID(int=1)), "--rule", "weapons"], "id alone"),
    ],
)
def test_what_nothing_can_be_is_not_searched_for(words: list[str], told: str) -> None:
    asked = CliRunner().invoke(app, ["trail", *words])
    said = " ".join(asked.output.replace("│", " ").split())
    assert (asked.exit_code, told in said) == (2, True), said


def test_hours_are_exported_verified_and_found_out(
    ask: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXRELAY_AUDIT_KEY_FILE", str(tmp_path / "audit.key"))
    key = json.loads(said(ask, "key", "new", "--json").output)["public"]
    assert "exists" in said(ask, "key", "new", code=1).output
    bundle = tmp_path / "b.tar"
    done = said(ask, "export", "--since", "3h", "-o", str(bundle), "--json")
    assert json.loads(done.output)["hours"] in (2, 3)
    new = json.loads(said(ask, "key", "rotate", "--json").output)
    assert [link["old"] for link in new["links"]] == [key]
    assert "As exported" in said(ask, "verify", str(bundle), "--trust", key).output
    assert "--trust" in said(ask, "verify", str(bundle)).output
    assert "names no witness" in said(ask, "verify", str(bundle), "--witness", code=1).output
    other = said(ask, "verify", str(bundle), "--trust", new["public"], "--json", code=3)
    assert json.loads(other.output)["findings"][0]["what"] == "signed by another key"
    member = next(m for m in members(bundle) if m.name == "manifest.json")
    data = bytearray(bundle.read_bytes())
    data[member.at + 20] ^= 1
    bundle.write_bytes(data)
    assert "NOT AS EXPORTED" in said(ask, "verify", str(bundle), code=3).output


def test_a_person_is_handed_what_is_theirs_and_nothing_else(
    ask: CliRunner, lived: Lived, tmp_path: Path
) -> None:
    person = json.loads(said(ask, "trail", lived.jobs["delivered"], "--json").output)["person"]
    target = tmp_path / "mine.zip"
    done = said(ask, "export", "--user", person, "-o", str(target), "--json")
    with zipfile.ZipFile(target) as found:
        files = {name: found.read(name) for name in found.namelist()}
    events = [json.loads(line) for line in files["events.jsonl"].splitlines()]
    assert json.loads(done.output)["events"] == len(events) == 8
    assert {each["job"] for each in events} == {lived.jobs[fate] for fate in ("delivered", "again")}
    assert {e["event"]["text"] for e in events if "text" in e["event"]} == {TEXTS["delivered"]}
    kinds = {name.split("/")[0] for name in files if "/" in name}
    assert kinds == {"recording", "hearing", "speech", "audio"}
    audio = next(e["event"]["audio"] for e in events if e["topic"] == "speech-delivered")
    hashes = {sha256(data).hexdigest() for data in files.values()}
    assert audio["sha256"] in hashes
    page = files["index.html"].decode()
    assert TEXTS["delivered"] in page
    assert all(name in page for name in files if name != "index.html")
    assert not any(TEXTS[fate] in page for fate in TEXTS if fate not in ("delivered", "again"))
    assert "exists" in said(ask, "export", "--user", person, "-o", str(target), code=1).output
    gone = json.loads(said(ask, "trail", lived.jobs["erased"], "--json").output)["person"]
    other = str(tmp_path / "other.zip")
    assert "was erased" in said(ask, "export", "--user", gone, "-o", other, code=1).output
    assert said(ask, "export", "-o", other, code=2)
    assert not Path(other).exists()


def test_a_replay_ends_with_three_where_something_would_change(
    ask: CliRunner, tmp_path: Path
) -> None:
    shipped = Path("moderation/policies/default.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(shipped.replace("出售枪支", "出售帽子"))
    document = json.loads(said(ask, "replay", "--policy", str(policy), "--json", code=3).output)
    assert document["moves"] == {"rejected -> approved": 1}
    shown = said(ask, "replay").output
    assert "changed 0" in shown
    assert "left out: erased  1" in shown
    assert said(ask, "replay", "--stage", "synth", code=2)


def test_delivery_run_again_says_the_same(ask: CliRunner) -> None:
    document = json.loads(said(ask, "replay", "--stage", "delivery", "--verify", "--json").output)
    assert (document["same"], document["different"]) == (3, 0)
