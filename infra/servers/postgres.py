"""PostgreSQL from the machine's own programs, in a folder of its own.

PostgreSQL refuses to run as root, so root runs it as another user, in a place that user can reach.
"""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.servers.errors import ServerFailed, ToolMissing
from infra.servers.process import HOST, Server, find_program

USER = "voxrelay"
PASSWORD = "voxrelay-test"  # of servers that live on the loopback address of one machine
UNPRIVILEGED = ("postgres", "nobody")


def find_programs() -> Path:
    """The folder with `initdb` and `postgres`. Raises `ToolMissing`."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: int(f.parent.name), reverse=True
    )
    initdb = find_program("initdb", *folders)
    if initdb is None:
        raise ToolMissing("PostgreSQL: initdb is not installed")
    return initdb.resolve().parent


def prepare() -> Path:
    """Nothing is built: says where the programs are. Raises `ToolMissing`."""
    return find_programs()


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom root runs PostgreSQL as; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ToolMissing("PostgreSQL: there is no user 'postgres' or 'nobody' to run it as")


def reachable(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """`folder`, or a place in /var/tmp where `user` may not enter all the way to it."""
    if user is None or all(_may_enter(parent, user) for parent in folder.resolve().parents):
        return folder
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return Path("/var/tmp") / f"voxrelay-{digest}" / folder.name


def _may_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    if not folder.exists():  # we will make it
        return True
    facts = folder.stat()
    if facts.st_uid == user.pw_uid:
        return bool(facts.st_mode & 0o100)
    if facts.st_gid == user.pw_gid:
        return bool(facts.st_mode & 0o010)
    return bool(facts.st_mode & 0o001)


class PostgresServer(Server):
    """A database server of its own, loopback only, with a password."""

    name = "postgres"
    ends_on = signal.SIGINT  # SIGTERM would wait for every client to go home

    def __init__(self, folder: Path, port: int | None = None, durable: bool = False) -> None:
        self._user = unprivileged_user()
        self.wanted = folder
        super().__init__(reachable(folder, self._user), port)
        self._durable = durable
        self._programs = find_programs()
        self.log_file = folder / "postgres.log"

    @property
    def url(self) -> str:
        """As libpq and psycopg take it, database `postgres`."""
        return f"postgresql://{USER}:{PASSWORD}@{HOST}:{self.port}/postgres"

    def user(self) -> tuple[int, int] | None:
        return (self._user.pw_uid, self._user.pw_gid) if self._user else None

    def prepare(self) -> None:
        self.wanted.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.folder != self.wanted and self.folder.parent.stat().st_uid != os.geteuid():
            raise ServerFailed(f"{self.folder.parent} belongs to somebody else")
        if self._user:
            # mkdir leaves a folder under a strict umask closed to the user who must enter it.
            for made in {self.folder, self.folder.parent}:
                if made.stat().st_uid == 0 and not _may_enter(made, self._user):
                    made.chmod(0o711)
        data = self.folder / "data"
        if (data / "initialised").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        self._initialise(data)

    def command(self) -> Sequence[str]:
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
        if not self._durable:  # a killed server loses nothing; only a power cut would tell
            settings += ["fsync=off", "full_page_writes=off"]
        flags = [part for setting in settings for part in ("-c", setting)]
        data = str(self.folder / "data")
        return [str(self._programs / "postgres"), "-D", data, "-p", str(self.port), *flags]

    def answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=2) as line:
                return line.execute("select 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def remove(self) -> None:
        """Close, and delete the data that had to lie outside the folder asked for."""
        self.close()
        if self.folder != self.wanted:
            shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _initialise(self, data: Path) -> None:
        data.mkdir(mode=0o700)
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        if self._user:
            os.chown(data, self._user.pw_uid, self._user.pw_gid)
            os.chown(password, self._user.pw_uid, self._user.pw_gid)
        done = subprocess.run(
            [
                *(str(self._programs / "initdb"), "-D", str(data), "-U", USER, "-E", "UTF8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            cwd="/",
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        password.unlink()
        if done.returncode:
            raise ServerFailed(f"PostgreSQL could not lay out its data\n{done.stdout}{done.stderr}")
        (data / "initialised").touch()


def postgres(folder: Path, *, port: int | None = None, durable: bool = False) -> PostgresServer:
    """A server with its data in `folder`; use with `with`. Raises `ToolMissing`."""
    return PostgresServer(Path(folder), port, durable)
