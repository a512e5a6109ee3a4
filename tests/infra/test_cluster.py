"""`make cluster` and `make down`: what ends is started again, and nothing outlives its supervisor.

With the two stages that load no model; the journeys run all four.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import cluster
from infra.servers.process import descendants, free_port
from infra.stages import StageProcess
from tests.infra.processes import eventually, none_alive
from tests.servers import KafkaAddress, PostgresAddress, S3Address

ROOT = Path(__file__).parents[2]
STAGES = ("ingest", "delivery")


@pytest.fixture
def folder(
    kafka_server: KafkaAddress, s3_server: S3Address, postgres_server: PostgresAddress
) -> Iterator[Path]:
    """A folder for a cluster, on a machine that can have one; stopped whatever happens."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name) / "cluster"
        cluster.down(Path(name) / "cluster")


def state_of(folder: Path) -> cluster.State:
    found = cluster.read_state(folder)
    assert found is not None
    return found


def command(*words: str) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "infra.cluster", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ready(gateway: str) -> bool:
    probe = StageProcess("ingest", Path(), {}, int(gateway.rpartition(":")[2]))
    return probe.answers()


@pytest.mark.timeout(420)
def test_a_cluster_comes_mends_itself_and_goes(folder: Path) -> None:
    up = ["up", str(folder), str(free_port()), *STAGES]
    said = command(*up)
    first = state_of(folder)
    assert first.gateway in said
    assert ready(first.gateway)

    # A second `up` finds the first.
    command(*up)
    assert state_of(folder) == first

    # A stage that dies is started again.
    os.kill(first.stages["delivery"], signal.SIGKILL)
    eventually(lambda: state_of(folder).stages["delivery"] != first.stages["delivery"])
    assert state_of(folder).stages["ingest"] == first.stages["ingest"]

    # Nothing outlives its supervisor, and what was kept is found again.
    family = descendants(first.pid)
    assert len(family) >= 3 + len(STAGES)
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: none_alive([first.pid, *family]))
    assert cluster.read_state(folder) is None
    command(*up)
    second = state_of(folder)
    assert second.kafka == first.kafka

    # Down leaves neither processes nor data.
    family = descendants(second.pid)
    command("down", str(folder))
    assert none_alive([second.pid, *family])
    assert not folder.exists()


@pytest.mark.timeout(420)
def test_going_down_while_it_comes_up_leaves_nothing(folder: Path) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-m", "infra.cluster", "up", str(folder), str(free_port()), *STAGES],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: (folder / "kafka").exists())
    supervisor = cluster.supervisor_of(folder)
    assert supervisor is not None
    family = descendants(supervisor)
    command("down", str(folder))
    assert starting.wait(60) != 0
    assert none_alive([supervisor, *family])
    assert not (folder / "kafka").exists()


def test_going_down_twice_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster.down(tmp_path / "never") == 0
    assert "no cluster" in capsys.readouterr().out


def test_a_state_left_by_a_dead_supervisor_is_not_believed(tmp_path: Path) -> None:
    left = cluster.State(os.getpid(), "http://127.0.0.1:1", "", "", "", {})
    (tmp_path / cluster.STATE).write_text(json.dumps(cluster.asdict(left)))
    assert cluster.read_state(tmp_path) is None
