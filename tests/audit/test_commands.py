"""The auditor's commands as a person spells them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from tests.audit.relay import TEXTS, Lived
from voxrelay.audit import app


@pytest.fixture
def ask(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("VOXRELAY_DATA", str(lived.settings.data))
    return CliRunner()


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
