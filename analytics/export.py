"""Events as Parquet files, a folder a day, each event in one file once, whatever dies.

    DIR/day=2026-03-01/prompt-uploaded-0-000000001042.parquet
    DIR/manifest.json

Knows files and how far each partition has come. A file is written beside its place, then moved
there; the manifest, replaced as a whole after it, says what counts. What no manifest names is
written anew by the next run, under the same name, from the same offset. Refuses to know columns.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from analytics.columns import table
from analytics.definitions import TOPICS
from relay.errors import Misconfigured
from relay.log.port import Log, Place, Record

MANIFEST = "manifest.json"
FORMAT = "voxrelay-analytics/1"
BATCH = 50_000
"""Records read before files are written: a file holds as many at most, and memory too."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What one run added."""

    records: int
    files: int


class Folder:
    """A folder of files and its manifest, held by one process at a time."""

    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        self._path = path
        self._next: dict[str, int] = dict(told["next"])
        self._files: list[str] = list(told["files"])

    @property
    def start(self) -> dict[Place, int]:
        """Per partition the offset of the next record to be written."""
        places = {name: name.rpartition("/") for name in self._next}
        return {(topic, int(n)): self._next[name] for name, (topic, _, n) in places.items()}

    def add(self, records: Sequence[Record]) -> int:
        """Write `records` and say so in the manifest: all of them, or none that counts."""
        parts: defaultdict[tuple[str, str, int], list[Record]] = defaultdict(list)
        for record in records:
            day = record.appended.date().isoformat()  # its append's: no file is opened twice
            parts[day, record.topic, record.partition].append(record)
        written = [self._write(day, part) for (day, _, _), part in parts.items()]
        self._files += written
        self._next |= {f"{r.topic}/{r.partition}": r.offset + 1 for r in records}
        told = {"format": FORMAT, "next": self._next, "files": self._files}
        _replace(self._path / MANIFEST, lambda to: to.write_text(json.dumps(told, indent=1)))
        return len(written)

    def _write(self, day: str, part: Sequence[Record]) -> str:
        first = part[0]
        name = f"day={day}/{first.topic}-{first.partition}-{first.offset:012d}.parquet"
        target = self._path / name
        target.parent.mkdir(exist_ok=True)
        _replace(target, lambda to: pq.write_table(table(part), to, compression="zstd"))
        return name


async def export(log: Log, path: Path) -> Exported:
    """Write what the log holds beyond what `path` holds already."""
    with open_folder(path) as folder:
        records = files = 0
        batch: list[Record] = []
        async for record in log.read(TOPICS, start=folder.start):
            batch.append(record)
            if len(batch) == BATCH:
                files += await asyncio.to_thread(folder.add, batch)
                records, batch = records + len(batch), []
        if batch:
            files += await asyncio.to_thread(folder.add, batch)
        return Exported(records + len(batch), files)


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """The export in `path`, begun there if there is none.

    `Misconfigured` where another process is at it, or something else lies there.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(f"another process exports to {path} right now") from None
        yield Folder(path, _manifest(path))


def files(path: Path) -> list[str]:
    """The files that count, as their paths; `Misconfigured` where there is no export."""
    told = _manifest(path)
    if not told["files"]:
        raise Misconfigured(f"there is no export in {path}: run `voxrelay analytics export`")
    return [str(path / name) for name in told["files"]]


def _manifest(path: Path) -> Mapping[str, Any]:
    try:
        told: Mapping[str, Any] = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError:
        return {"next": {}, "files": []}
    except ValueError:
        told = {}
    if told.get("format") != FORMAT:
        raise Misconfigured(f"{path / MANIFEST} is no manifest of an export: name another folder")
    return told


def _replace(target: Path, write: Callable[[Path], object]) -> None:
    """`target` as `write` makes it: the old one or the new one, also after a power cut."""
    beside = target.with_name(f".{target.name}.part")
    write(beside)
    with beside.open("rb") as made:
        os.fsync(made.fileno())
    beside.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
