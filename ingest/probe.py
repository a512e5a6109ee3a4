"""One process that reads recordings nobody trusts, and may be killed while it does.

Knows its two pipes and its limits. Refuses to know what a recording is (`ingest.examine` does),
users, stores and settings; its environment holds no secret. Started by `ingest.recording`; `serve`
is its whole life.

A frame on either pipe: u32 length of a JSON head, u32 length of the bytes after it, head, bytes;
little endian.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

import av

from ingest.examine import Bounds, Raw, Refused, examine

FRAME = struct.Struct("<II")
_WITHOUT_PROC = 1_000_000_000


def _confine(memory: int) -> None:
    """For good: `memory` bytes beyond what a warm probe has, no core dump, no file."""
    for limit, value in (
        (resource.RLIMIT_AS, _address_space() + memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of address space
            resource.setrlimit(limit, (value, value))


def _address_space() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return _WITHOUT_PROC


def _answer(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    raw = Raw(**head["raw"]) if head["raw"] else None
    try:
        facts, flac = examine(data, raw, Bounds(**head["bounds"]))
        return {"facts": facts}, flac
    except Refused as refused:
        return {"code": refused.code, "facts": refused.facts}, b""
    except MemoryError:
        return {"code": "recording_too_complex", "facts": {}, "last": True}, b""


def _read_frame(pipe: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    lengths = pipe.read(FRAME.size)
    if len(lengths) < FRAME.size:
        return None
    head, body = FRAME.unpack(lengths)
    return json.loads(pipe.read(head)), pipe.read(body)


def write_frame(head: dict[str, Any], data: bytes) -> bytes:
    """A frame, ready to be written."""
    text = json.dumps(head).encode()
    return FRAME.pack(len(text), len(data)) + text + data


def _allow(seconds: float, hung: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, hung)


def serve(memory: int, seconds: float, hung: float) -> None:
    """Say that it is warm, then answer frames until the pipe ends.

    A recording that costs more than `seconds` of computing ends the process (SIGPROF); the alarm
    after `hung` ends a hung one even if nobody is left to.
    """
    _confine(memory)
    av.logging.set_level(None)
    source, sink = os.fdopen(0, "rb"), os.fdopen(1, "wb")
    sink.write(write_frame({}, b""))
    sink.flush()
    while (asked := _read_frame(source)) is not None:
        _allow(seconds, hung)
        head, data = _answer(*asked)
        _allow(0, 0)
        sink.write(write_frame(head, data))
        sink.flush()
        if head.get("last"):
            return


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
