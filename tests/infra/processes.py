"""Asking after processes that somebody else started."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether the process runs (one that only waits to be buried does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def none_alive(pids: Iterable[int]) -> bool:
    """Whether all have ended."""
    return not any(alive(pid) for pid in pids)


def eventually(holds: Callable[[], bool], within_s: float = 30) -> None:
    """Wait until `holds`; fail if it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
