"""One server process: started, asked until it answers, hurt on purpose, and always ended.

Knows processes, ports and signals; refuses to know what the server does. A subclass says how it
is started (`command`) and how it is asked whether it is there (`answers`).
The death signal follows the thread that called `start`, so start servers from a thread that lives
as long as they should.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.servers.errors import ServerFailed

HOST = "127.0.0.1"
# Below every system's range for outgoing connections: a client that keeps knocking at the port
# of a dead server could otherwise be given that very port, and connect to itself.
PORTS = range(20_000, 32_000)
LEASH = Path(__file__).with_name("leash.py")


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    for port in random.sample(PORTS, 200):
        if is_free(port):
            return port
    raise ServerFailed("no free port between 20000 and 32000")


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def find_program(name: str, *folders: Path) -> Path | None:
    """`name` on PATH, else in one of `folders`."""
    found = shutil.which(name)
    if found:
        return Path(found)
    return next((f / name for f in folders if os.access(f / name, os.X_OK)), None)


class Server(ABC):
    """A server process that is started on entry and gone on exit."""

    name = "server"
    ready_within_s = 120.0
    ends_within_s = 20.0
    ends_on = signal.SIGTERM  # what asks it to end cleanly, and soon

    def __init__(self, folder: Path, port: int | None) -> None:
        self.folder, self.port = folder, port or free_port()
        self.log_file = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line; called at each start, after `prepare`."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask the server once, briefly, whether it can do its work."""

    def prepare(self) -> None:
        """Lay out the data folder; called at each start and must not undo the last one."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> Mapping[str, str]:
        """Variables added to the server's environment."""
        return {}

    def user(self) -> tuple[int, int] | None:
        """User and group to run as, where they are not our own."""
        return None

    @property
    def pid(self) -> int:
        """The process id; raises `ServerFailed` when it is not running."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ended_with(self) -> int | None:
        """Its exit status, where it has ended without our killing or closing it."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start and wait for an answer; raises `ServerFailed` with the end of the log."""
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start without waiting; `wait_ready` follows."""
        if self.running:
            return
        if not is_free(self.port):  # else whoever holds it would answer in its place
            raise ServerFailed(f"{self.name}: port {self.port} is taken")
        self.prepare()
        self._process = self._spawn()

    def wait_ready(self) -> None:
        """Ask until the server answers; raises `ServerFailed` if it ends or takes too long."""
        deadline = time.monotonic() + self.ready_within_s
        while not self.answers():
            if not self.running:
                raise ServerFailed(f"{self.name} ended at start\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} does not answer\n{self.log_tail()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a power cut would; data and port stay for `start`."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Ask it to end, wait for a clean end, SIGKILL if that takes too long."""
        self._end(self.ends_on)

    def ask_to_end(self) -> None:
        """Begin a clean end; `close` waits for it. Several can end at the same time that way."""
        if self._process is not None and self.running:
            self._process.send_signal(self.ends_on)

    def stop(self) -> None:
        """Freeze the server and its children (SIGSTOP): it hangs without closing connections."""
        self._signal_all(signal.SIGSTOP)

    def cont(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._signal_all(signal.SIGCONT)

    def restart(self) -> None:
        """Clean stop and start, same port and data."""
        self.close()
        self.start()

    def log_tail(self, lines: int = 30) -> str:
        """The last lines the server wrote."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        user = self.user()
        drop = f"{user[0]}:{user[1]}" if user else "-"
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), drop]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [*leash, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment()},
                cwd="/",
                start_new_session=True,
            )

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        children = descendants(process.pid)
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a frozen process cannot end cleanly
        _signal(children, signal.SIGCONT)
        try:
            process.wait(self.ends_within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _await_gone(children)

    def _signal_all(self, what: signal.Signals) -> None:
        _signal([self.pid, *descendants(self.pid)], what)


def descendants(pid: int) -> list[int]:
    """Children of `pid`, and theirs."""
    children: dict[int, list[int]] = {}
    for child, parent in _process_table():
        children.setdefault(parent, []).append(child)
    found, todo = [], [pid]
    while todo:
        born = children.get(todo.pop(), [])
        found += born
        todo += born
    return found


def _process_table() -> list[tuple[int, int]]:
    """(process, parent) of every process; a minimal system has /proc, a Mac has ps."""
    if Path("/proc/self/stat").exists():
        stats = [_stat(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [(int(s[0]), int(s[1].rsplit(") ", 1)[1].split()[1])) for s in stats if s]
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=True)
    return [(int(p), int(q)) for p, q in (row.split() for row in listing.stdout.splitlines())]


def _stat(entry: Path) -> tuple[str, str] | None:
    try:
        return entry.name, (entry / "stat").read_text()
    except OSError:  # it ended while we looked
        return None


def _signal(pids: Sequence[int], what: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            continue


def _await_gone(pids: Sequence[int], within_s: float = 5.0) -> None:
    """Children of a killed server may still hold its port or its data for a moment."""
    deadline = time.monotonic() + within_s
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            _signal(pids, signal.SIGKILL)
            return
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
