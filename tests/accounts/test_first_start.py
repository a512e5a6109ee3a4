"""Where accounts are on and where they are off, the first operator, and the commands for keys."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from ingest.__main__ import _greet
from ingest.settings import IngestSettings
from relay.settings import Settings
from relay.spine import open_spine
from relay.wechat import WeChatSettings
from voxrelay.main import app
from voxrelay.up import OPEN, environment


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that commands find in the environment."""
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))
    monkeypatch.setenv("VOXRELAY_PUBLIC_URL", "https://voice.example/")
    return tmp_path


@pytest.mark.parametrize(
    ("host", "free"),
    [
        (None, True),
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.0.2.7", False),
        ("voice.example", False),
    ],
)
def test_up_lets_anybody_in_on_loopback_alone(
    monkeypatch: pytest.MonkeyPatch, host: str | None, free: bool
) -> None:
    if host is not None:
        monkeypatch.setenv("VOXRELAY_INGEST_HOST", host)
    given = environment(Path("data"), 8080)
    assert (OPEN.items() <= given.items()) == free
    assert ("VOXRELAY_INGEST_ANONYMOUS" in given) == free


def test_callers_without_a_token_have_a_quota_elsewhere_than_on_loopback() -> None:
    IngestSettings(anonymous=True, quota_per_minute=0)
    IngestSettings(anonymous=True, host="0.0.0.0")
    with pytest.raises(ValidationError, match="QUOTA_PER_MINUTE"):
        IngestSettings(anonymous=True, host="0.0.0.0", quota_per_minute=0)


def test_a_mini_program_has_a_secret_and_a_secret_a_mini_program() -> None:
    for half in ({"app": "wx1"}, {"secret": "s"}):
        with pytest.raises(ValidationError, match="WECHAT_SECRET"):
            WeChatSettings(**half)
    with pytest.raises(ValidationError, match="WECHAT_APP"):
        WeChatSettings(template="t")
    assert "s3cret" not in repr(WeChatSettings(app="wx1", secret="s3cret"))


async def test_the_first_start_prints_a_link_once_and_only_where_tokens_are_needed(
    env: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_spine(Settings()) as spine:
        await _greet(spine, IngestSettings(anonymous=True))
        assert capsys.readouterr().err == ""
        await _greet(spine, IngestSettings())
        printed = capsys.readouterr().err
        assert re.search(r"https://voice\.example/#sign-in=[\w-]{43}\n", printed)
        await _greet(spine, IngestSettings())
        assert capsys.readouterr().err == ""
    assert "sign-in" not in caplog.text


def told(*words: str, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, ["access", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_keys_are_made_listed_and_revoked_by_command(env: Path) -> None:
    words = ("shop", "--scope", "jobs:send", "--days", "7", "--per-minute", "60", "--json")
    made = json.loads(told("create", *words))
    assert made["key"].startswith(f"vrk_{made['id']}.")
    assert (made["scopes"], made["limits"]) == (["jobs:send"], {"per_minute": 60.0})
    same = json.loads(told("create", "shop-2", "--person", made["person"], "--json"))
    assert same["person"] == made["person"]
    assert "not all" in told("create", "x", "--role", "auditor", "--scope", "jobs:send", code=1)
    (newest, oldest) = json.loads(told("list", "--json"))
    assert {newest["id"], oldest["id"]} == {made["id"], same["id"]}
    listed = told("list")
    assert made["id"] in listed
    assert made["key"] not in listed
    told("revoke", made["id"])
    assert "no such key" in told("revoke", made["id"], code=1)
    assert "revoked" in told("list")


def test_links_sessions_and_token_keys_have_their_commands(env: Path) -> None:
    first, second = (json.loads(told("link", "--json"))["url"] for _ in range(2))
    assert first != second
    assert first.startswith("https://voice.example/#sign-in=")
    assert json.loads(told("sign-out", "00000000-0000-0000-0000-000000000001", "--json")) == {
        "ended": 0
    }
    kids = {json.loads(told("rotate-tokens", "--json"))["kid"] for _ in range(2)}
    assert len(kids) == 2
