"""The command as a person runs it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.servers.process import descendants, free_port
from relay.errors import Misconfigured, Unavailable
from relay.process import EXIT_MISCONFIGURED, EXIT_UNAVAILABLE
from relay.settings import Settings
from schemas.events import BY_TYPE
from voxrelay import demo, main
from voxrelay.up import answers, prepare
from voxrelay_client import AsyncClient

ROOT = Path(__file__).parents[2]


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VOXRELAY_")}
    models = os.environ.get("VOXRELAY_MODELS")
    return {**kept, **({"VOXRELAY_MODELS": models} if models else {}), **more}


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxrelay", *words],
        env=environment(**env),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=170,
    )


def test_the_schemas_of_all_events_are_printed() -> None:
    assert set(json.loads(run("topics", "schema").stdout)) == set(BY_TYPE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VOXRELAY_LOG", "rabbit://x"),
        ("VOXRELAY_SQL", "mysql://x"),
        ("VOXRELAY_OBJECTS", "ftp://x"),
        ("VOXRELAY_PARTITIONS", "none"),
        ("VOXRELAY_KAFKA_SECURITY", "TELNET"),
        ("VOXRELAY_INGEST_PORT", "99999"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name(
    name: str, value: str, tmp_path: Path
) -> None:
    done = run("run", "ingest", **{"VOXRELAY_DATA": str(tmp_path), name: value})
    assert done.returncode == EXIT_MISCONFIGURED, done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_that_was_never_set_up_is_refused_with_the_remedy(tmp_path: Path) -> None:
    done = run("run", "delivery", VOXRELAY_DATA=str(tmp_path))
    assert done.returncode == EXIT_MISCONFIGURED
    assert "voxrelay topics apply" in done.stderr


def test_a_part_that_is_down_ends_a_command_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down() -> None:
        raise Unavailable("Kafka does not answer")

    monkeypatch.setattr(main, "app", down)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == EXIT_UNAVAILABLE
    assert capsys.readouterr().err == "voxrelay: Kafka does not answer\n"


def test_an_unknown_stage_is_named() -> None:
    done = run("run", "mastering")
    assert done.returncode == 2
    assert "mastering" in done.stderr


def test_topics_are_applied_as_often_as_one_likes(tmp_path: Path) -> None:
    once = run("topics", "apply", "--json", VOXRELAY_DATA=str(tmp_path))
    again = run("topics", "apply", "--json", VOXRELAY_DATA=str(tmp_path))
    assert json.loads(once.stdout) == json.loads(again.stdout)
    assert json.loads(once.stdout)["prompt-uploaded"] == 4


async def test_only_a_group_that_there_is_on_kafka_may_begin_anew(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="--begin is for Kafka"):
        await prepare(Settings(data=tmp_path), ["view"])
    with pytest.raises(Misconfigured, match="veiw: groups are view, "):
        await prepare(Settings(data=tmp_path, log="kafka://nowhere:1"), ["view", "veiw"])


def test_nothing_waits_in_a_new_relay(tmp_path: Path) -> None:
    run("topics", "apply", VOXRELAY_DATA=str(tmp_path))
    for what in ("held", "dead"):
        done = run("audit", what, "list", "--json", VOXRELAY_DATA=str(tmp_path))
        assert json.loads(done.stdout) == [], done.stderr


def test_dead_letters_and_stopped_stages_are_told_and_misnamed_ones_refused(
    tmp_path: Path,
) -> None:
    run("topics", "apply", VOXRELAY_DATA=str(tmp_path))

    def dead(*words: str) -> subprocess.CompletedProcess[str]:
        return run("audit", "dead", *words, VOXRELAY_DATA=str(tmp_path))

    assert json.loads(dead("stopped", "--json").stdout) == []
    assert json.loads(dead("redrive", "--all", "--json").stdout) == {"redriven": 0}
    for words in (("show", "nobody"), ("discard", "nobody"), ("resume", "synth"), ("redrive",)):
        refused = dead(*words)
        assert refused.returncode != 0, words
        assert refused.stderr.strip()
        assert "Traceback" not in refused.stderr


def test_the_demo_delivers_a_file_and_tells_it_as_json(tmp_path: Path) -> None:
    done = run("demo", "--json", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(said) == ["job_id", "state", "audio", "heard", "stages", "seconds"]
    assert list(said["audio"]) == ["path", "format", "seconds", "sha256"]
    assert said["state"] == "delivered"
    assert said["heard"]
    stages = [each["stage"] for each in said["stages"]]
    assert stages == ["ingest", "moderation", "synth", "delivery"]
    sound = Path(said["audio"]["path"]).read_bytes()
    assert hashlib.sha256(sound).hexdigest() == said["audio"]["sha256"]
    assert said["audio"]["format"] == "mp3"


async def test_the_demo_says_as_json_why_a_recording_was_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"detail": "This is not a recording."})

    async def run_it(recording: Path, text: str, out: Path, tell: demo.Teller) -> demo.Story:
        transport = httpx.MockTransport(refuse)
        async with AsyncClient("http://relay", transport=transport) as client:
            return await demo._journey(client, recording, text, tell)

    monkeypatch.setattr(demo, "_run", run_it)
    (tmp_path / "diary.wav").write_text("Dear diary, this is no sound.")
    assert await demo.demo(tmp_path / "diary.wav", None, tmp_path, as_json=True) == 1
    assert "This is not a recording." in json.loads(capsys.readouterr().out)["error"]


def test_the_demo_says_which_file_is_missing(tmp_path: Path) -> None:
    done = run("demo", "--recording", str(tmp_path / "nothing.wav"))
    assert done.returncode == 2
    assert "nothing.wav" in done.stdout


@contextmanager
def up(data: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "voxrelay", "up", "--port", str(port), "--data", str(data)]
    process = subprocess.Popen(
        [*line, "--json"], env=environment(), stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    timer = threading.Timer(150, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def test_up_answers_when_it_says_so_outlives_its_child_and_stops_when_asked(
    tmp_path: Path,
) -> None:
    port = free_port()
    with up(tmp_path, port) as process:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        assert said == {"url": f"http://127.0.0.1:{port}", "data": str(tmp_path.resolve())}
        assert httpx.get(f"{said['url']}/readyz").status_code == 200
        assert "html" in httpx.get(f"{said['url']}/").text
        first = descendants(process.pid)[0]
        os.kill(first, signal.SIGKILL)
        asyncio.run(asyncio.wait_for(answers(port), 100))
        assert descendants(process.pid)[0] != first
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_up_says_that_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), "--data", str(tmp_path))
    assert done.returncode == EXIT_MISCONFIGURED
    assert str(port) in done.stderr
