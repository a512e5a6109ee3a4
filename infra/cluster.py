"""A whole cluster on one machine, without containers: three servers and four stage processes.

    python -m infra.cluster up FOLDER [PORT [STAGE ...]]   start it behind our back, say where
    python -m infra.cluster down FOLDER                    stop it and remove its data
    python -m infra.cluster run FOLDER [PORT [STAGE ...]]  what `up` starts: the supervisor

The supervisor holds everything on a leash, so nothing outlives it; a stage that ends is started
again. Knows processes, addresses and settings; refuses to know what travels through them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local import Cluster
from infra.servers import ServerFailed, ToolMissing, postgres
from infra.servers.process import descendants
from infra.stages import ROOT, STAGES

GATEWAY_PORT = 8080
STATE = "cluster.json"
LOG = "cluster.log"
STARTS_WITHIN_S = 600.0
STOPS_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class State:
    """What is running where; lies in the folder as JSON once everything is ready."""

    pid: int
    gateway: str
    kafka: str
    s3: str
    postgres: str
    stages: Mapping[str, int]

    @classmethod
    def of(cls, cluster: Cluster) -> State:
        return cls(
            pid=os.getpid(),
            gateway=cluster.gateway,
            kafka=cluster.kafka.bootstrap,
            s3=cluster.s3.url,
            postgres=cluster.postgres.url,
            stages={name: stage.pid for name, stage in cluster.stages.items()},
        )


def run(folder: Path, port: int, names: Sequence[str] = STAGES) -> int:
    """Supervise until SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    state = folder / STATE
    with Cluster(folder, port, names) as cluster:
        _write(state, State.of(cluster))
        while not told.wait(1.0):
            if cluster.mend():
                _write(state, State.of(cluster))
        state.unlink(missing_ok=True)
    print("stopped", flush=True)
    return 0


def up(folder: Path, port: int, names: Sequence[str] = STAGES) -> int:
    """Start the supervisor and wait until everything is ready."""
    running = read_state(folder)
    if running is not None:
        print(f"It is running already: {running.gateway}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATE).unlink(missing_ok=True)
    print(f"Starting Kafka, MinIO, PostgreSQL and {len(names)} stages in {folder} ...", flush=True)
    with (folder / LOG).open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "infra.cluster", "run", str(folder), str(port), *names],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,
        )
    state = _await_state(folder, supervisor)
    if state is None:
        print(f"The cluster did not start. The end of {folder / LOG}:", file=sys.stderr)
        print((folder / LOG).read_text(errors="replace")[-3000:], file=sys.stderr)
        return 1
    print(_where(folder, state))
    return 0


def down(folder: Path) -> int:
    """Stop the supervisor, and with it everything; then remove the folder."""
    running = read_state(folder)
    if running is not None:
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOPS_WITHIN_S
        while _is_supervisor(running.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if _is_supervisor(running.pid):
            print("It does not stop; killing it.", file=sys.stderr)
            os.kill(running.pid, signal.SIGKILL)  # the leash ends the rest
    if (folder / "kafka").exists() or (folder / LOG).exists():
        postgres(folder / "postgres").remove()
        shutil.rmtree(folder)
        print(f"Stopped, and removed {folder}.")
    else:
        print(f"There is no cluster in {folder}.")
    return 0


def read_state(folder: Path) -> State | None:
    """What runs in `folder`; None when nothing does."""
    file = folder / STATE
    if not file.exists():
        return None
    state = State(**json.loads(file.read_text()))
    return state if _is_supervisor(state.pid) else None


def _write(file: Path, state: State) -> None:
    """Replace the file in one step; the database's password is in it."""
    unfinished = file.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(state)))
    unfinished.rename(file)


def _await_state(folder: Path, supervisor: subprocess.Popen[bytes]) -> State | None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and supervisor.poll() is None:
        state = read_state(folder)
        if state is not None:
            return state
        time.sleep(0.1)
    supervisor.terminate()
    supervisor.wait()
    return None


def _is_supervisor(pid: int) -> bool:
    """Whether that process is a supervisor of ours, and not a later one with the same number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    facts = Path(f"/proc/{pid}/cmdline")
    if not facts.exists():
        return bool(descendants(pid))
    return b"infra.cluster" in facts.read_bytes()


def _where(folder: Path, state: State) -> str:
    return "\n".join(
        [
            f"page and doors   {state.gateway}",
            f"Kafka            {state.kafka}",
            f"MinIO            {state.s3}",
            f"PostgreSQL       {state.postgres}",
            f"logs and data    {folder}",
            "stop             make down",
        ]
    )


def main(words: list[str]) -> int:
    """`up`, `down` or `run`, a folder, and for two of them the gateway's port and the stages."""
    if len(words) < 2 or words[0] not in ("up", "down", "run"):
        print((__doc__ or "").split("\n\n")[1], file=sys.stderr)
        return 2
    folder = Path(words[1]).resolve()
    port = int(words[2]) if len(words) > 2 else GATEWAY_PORT
    names = words[3:] or STAGES
    try:
        if words[0] == "down":
            return down(folder)
        return (up if words[0] == "up" else run)(folder, port, names)
    except (ToolMissing, ServerFailed) as lacking:
        print(lacking, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
