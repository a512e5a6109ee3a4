"""The user's cache folder, filled once and by one process at a time.

Knows folders and locks; refuses to know what is built in them. Standard library only, so that
servers can be prepared while Python packages are still being installed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/voxrelay`, or `~/.cache/voxrelay`; not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "voxrelay"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created if absent) between processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_cached(name: str) -> bool:
    """Whether `build_once(name, ...)` would find it there."""
    return (cache_folder() / "servers" / name).exists()


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """The cached folder `servers/<name>`, made by `build(empty folder)` if it is not there yet.

    The folder appears by a rename, so what is in the cache is always whole.
    """
    target = cache_folder() / "servers" / name
    if target.exists():
        return target
    with locked(target.parent / f".{name}.lock"):
        if not target.exists():
            _build(target, build)
    return target


def _build(target: Path, build: Callable[[Path], None]) -> None:
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        build(work)
        work.chmod(0o755)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
