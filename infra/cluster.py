"""A whole cluster on one machine, without containers: three servers and four stage processes.

    python -m infra.cluster up FOLDER [PORT [STAGE ...]]   start it behind our back, say where
    python -m infra.cluster down FOLDER                    stop it and remove its data
    python -m infra.cluster run FOLDER [PORT [STAGE ...]]  what `up` starts: the supervisor

The supervisor holds everything on a leash, so nothing outlives it; a stage that ends is started
again. Knows processes, addresses and settings; refuses to know what travels through them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local import Cluster
from infra.servers import ServerFailed, ToolMissing, postgres
from infra.stages import ROOT, STAGES

GATEWAY_PORT = 8080
STATE = "cluster.json"
LOG = "cluster.log"
LOCK = "cluster.lock"
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
    state = folder / STATE
    _when_told(lambda: sys.exit(0))  # while it starts; what has started is closed on the way out
    with _only_supervisor(folder), Cluster(folder, port, names) as cluster:
        _when_told(told.set)
        _write(state, State.of(cluster))
        while not told.wait(1.0):
            if cluster.mend():
                _write(state, State.of(cluster))
        state.unlink(missing_ok=True)
    print("stopped", flush=True)
    return 0


def _when_told(act: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())


def up(folder: Path, port: int, names: Sequence[str] = STAGES) -> int:
    """Start the supervisor and wait until everything is ready."""
    if supervisor_of(folder) is not None:
        running = read_state(folder)
        print(f"It is running already: {running.gateway}" if running else "It is just starting.")
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
        print("The cluster did not start.", file=sys.stderr)
        if (folder / LOG).exists():  # else it was taken down meanwhile
            print((folder / LOG).read_text(errors="replace")[-3000:], file=sys.stderr)
        return 1
    print(_where(folder, state))
    return 0


def down(folder: Path) -> int:
    """Stop the supervisor, and with it everything; then remove the folder."""
    if not (folder / LOCK).exists():
        print(f"There is no cluster in {folder}.")
        return 0
    _end_supervisor(folder)
    postgres(folder / "postgres").remove()
    shutil.rmtree(folder)
    print(f"Stopped, and removed {folder}.")
    return 0


def _end_supervisor(folder: Path) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):  # at its death the leash ends the rest
        deadline = time.monotonic() + STOPS_WITHIN_S
        pid = supervisor_of(folder)
        if pid is None:
            return
        os.kill(pid, how)
        while supervisor_of(folder) is not None and time.monotonic() < deadline:
            time.sleep(0.1)


def read_state(folder: Path) -> State | None:
    """What runs in `folder`; None when nothing does, or not all of it is ready yet."""
    file = folder / STATE
    if not file.exists() or supervisor_of(folder) is None:
        return None
    return State(**json.loads(file.read_text()))


def supervisor_of(folder: Path) -> int | None:
    """The process that holds the folder's lock; a lock ends with its holder, however it ends."""
    lock = folder / LOCK
    if not lock.exists():
        return None
    with lock.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(handle.read() or 0) or None
    return None


@contextmanager
def _only_supervisor(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _await_state(folder: Path, supervisor: subprocess.Popen[bytes]) -> State | None:
    """What is running, once all of it is; None, and nothing left, where it does not come to be."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    try:
        while time.monotonic() < deadline and supervisor.poll() is None:
            state = read_state(folder)
            if state is not None:
                return state
            time.sleep(0.1)
    except KeyboardInterrupt:
        print("Stopping what was started.", file=sys.stderr)
    supervisor.terminate()
    supervisor.wait()
    return None


def _write(file: Path, state: State) -> None:
    """Replace the file in one step; the database's password is in it."""
    unfinished = file.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(state)))
    unfinished.rename(file)


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
