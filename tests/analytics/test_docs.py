"""Every question of the page is answered, and the answers are right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.audit.relay import TEXTS, Lived
from voxrelay.main import app

Rows = list[dict[str, Any]]
Answers = dict[str, Rows]

PAGE = (Path(__file__).parents[2] / "docs" / "analytics.md").read_text()
QUESTIONS = re.findall(r"^([^\n]+\?)\n\n```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def answers(lived: Lived, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """By question, asked of an export by the commands of the page."""
    out = str(tmp_path_factory.mktemp("export"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXRELAY_DATA", str(lived.settings.data))
        run = CliRunner().invoke
        done = run(app, ["analytics", "export", "--to", out, "--json"])
        assert json.loads(done.output)["records"] > 20
        found = {}
        for question, sql in QUESTIONS:
            said = run(app, ["sql", sql, "--from", out, "--json"])
            assert said.exit_code == 0, said.output
            found[question] = json.loads(said.output)
        (live,) = json.loads(run(app, ["sql", "select count(*) n from jobs", "--json"]).output)
        assert live == {"n": len(TEXTS)}
        assert "n" in run(app, ["sql", "select count(*) n from jobs"]).output
        assert run(app, ["sql", "select nothing"]).exit_code == 1
        return found


def about(answers: Answers, word: str) -> Rows:
    (found,) = [rows for question, rows in answers.items() if word in question]
    return found


def test_every_question_is_answered(answers: Answers) -> None:
    assert len(answers) == len(QUESTIONS) == PAGE.count("```sql")
    ended = {row["ended_as"]: row["jobs"] for row in about(answers, "ended how")}
    assert ended == {"delivered": 4, "rejected": 3, "failed": 1, None: 2}
    assert about(answers, "dialects") == []  # nobody asked for one
    (judged,) = about(answers, "new version")
    assert judged["approved"] == 6
    (stages,) = about(answers, "each stage take")
    assert all(len(stages[stage]) == 3 for stage in ("moderation", "synth", "delivery"))
    (fraud,) = about(answers, "hold prompts")
    assert (fraud["rule"], fraud["held"], fraud["approved_by_a_person"]) == ("fraud", 2, 1)
    (voice,) = about(answers, "from the cache")
    assert (voice["voice"], voice["jobs"], voice["from_the_cache"]) == ("tone", 4, 1)
    (failed,) = about(answers, "What fails")
    assert (failed["failed_in"], failed["failed_code"]) == ("synth", "output_too_long")
    (persons,) = about(answers, "came back")
    assert persons["came_back"] == 0
    assert persons["persons"] > 5
