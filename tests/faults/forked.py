"""Stage processes forked from one that has imported everything: a stage is back in no time.

Knows the standard library's fork server and what `infra.servers.process.Server` asks of a process.
Imports cost seconds, and where a stage dies every second nothing else would ever run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1

_template = get_context("forkserver")
_template.set_forkserver_preload(
    [
        "tests.faults.stage",
        "delivery.__main__",
        "ingest.__main__",
        "relay.log.kafka",
        "relay.log.sqlite",
    ]
)


class Forked:
    """A running process, as `subprocess.Popen` shows one."""

    def __init__(
        self, run: Callable[..., None], values: Mapping[str, str], log: Path, *words: Any
    ) -> None:
        """Run `run(*words)` with `values` added to the environment, saying all to `log`."""
        self._process = _template.Process(
            target=_live, args=(run, dict(values), str(log), words), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, what: signal.Signals) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, what)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _live(run: Callable[..., None], values: Mapping[str, str], log: str, words: Any) -> None:
    """In the new process: become what an executed one would be."""
    os.setsid()
    if sys.platform == "linux":  # the template ends with whoever drives, and we with the template
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(log, "ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.environ.update(values)
    run(*words)
