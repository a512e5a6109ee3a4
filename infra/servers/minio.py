"""MinIO, built by Go from its last source (there are no images or binaries of it any more)."""

import json
import os
import platform
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.servers.cache import build_once
from infra.servers.errors import ServerFailed, ToolMissing
from infra.servers.process import HOST, Server, find_program, free_port

SOURCE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
CACHED = f"minio-{VERSION}"
ACCESS_KEY = "voxrelay"
SECRET_KEY = "voxrelay-test"  # of servers that live on the loopback address of one machine
FETCHES_ITSELF = (1, 21)  # from here on Go gets the newer version that a source asks for
NEWER = "go1.24.8"


def prepare() -> Path:
    """The program, built if it is not cached (about 6 minutes, 150 MB). Raises `ToolMissing`."""
    return build_once(CACHED, _build) / "minio"


def _build(folder: Path) -> None:
    environment = {**os.environ, "GOBIN": str(folder), "GOTOOLCHAIN": "auto"}
    done = subprocess.run(
        [find_go(), "install", "-ldflags=-s -w", f"{SOURCE}@{VERSION}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
    )
    if done.returncode:
        raise ServerFailed(f"Go could not build MinIO\n{done.stderr[-2000:]}")


def find_go() -> Path:
    """A Go new enough to build MinIO, fetched by an older one if need be. Raises `ToolMissing`."""
    go = find_program("go", Path("/usr/local/go/bin"), *sorted(Path("/usr/lib").glob("go-*/bin")))
    if go is None:
        raise ToolMissing("MinIO: Go is not installed")
    said = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) >= FETCHES_ITSELF:
        return go
    return _newer_go(go)


def _newer_go(old: Path) -> Path:
    """Debian 12's Go does not know that newer ones come as modules, but it can fetch the module."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    module = f"golang.org/toolchain@v0.0.1-{NEWER}.{sys.platform}-{machine}"
    done = subprocess.run(
        [old, "mod", "download", "-json", module],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
    )
    if done.returncode:
        raise ToolMissing(f"MinIO: {old} is too old, and could not fetch {NEWER}")
    folder = Path(json.loads(done.stdout)["Dir"])
    for program in [*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")]:
        program.chmod(0o555)  # modules are kept without the right to run
    return folder / "bin" / "go"


class MinioServer(Server):
    """An object store of its own. Path-style and virtual-hosted (`<bucket>.s3.localhost`)."""

    name = "minio"

    def __init__(self, folder: Path, tls: bool = False, port: int | None = None) -> None:
        super().__init__(folder, port)
        self.tls = tls
        self.access_key, self.secret_key = ACCESS_KEY, SECRET_KEY
        self._program = prepare()

    @property
    def endpoint(self) -> str:
        """`host:port`, as the minio client takes it."""
        return f"{'localhost' if self.tls else HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.endpoint}"

    @property
    def ca_file(self) -> Path | None:
        """The authority to trust; None without TLS."""
        return self.folder / "certificates" / "ca.pem" if self.tls else None

    def prepare(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        trusted = self.folder / "trusted"
        trusted.mkdir(exist_ok=True)
        if not self.tls or (trusted / "public.crt").exists():
            return
        from infra.servers.certificates import make_certificates

        made = self.folder / "certificates"
        make_certificates(made)
        (trusted / "private.key").symlink_to(made / "server.key")
        (trusted / "public.crt").symlink_to(made / "server.crt")

    def command(self) -> Sequence[str]:
        return [
            *(str(self._program), "server", str(self.folder / "data"), "--quiet"),
            *("--address", f"{HOST}:{self.port}"),
            *("--console-address", f"{HOST}:{free_port()}"),
            *("--certs-dir", str(self.folder / "trusted")),
        ]

    def environment(self) -> Mapping[str, str]:
        return {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_DOMAIN": "s3.localhost",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
            "HOME": str(self.folder),
        }

    def answers(self) -> bool:
        """`/minio/health/cluster` answers 200 once objects can be written."""
        trust = ssl.create_default_context(cafile=str(self.ca_file)) if self.tls else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if trust is not None:
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(f"{self.url}/minio/health/cluster", timeout=2) as reply:
                return bool(reply.status == 200)
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
            return False
        except OSError:
            return False


def minio(folder: Path, *, tls: bool = False, port: int | None = None) -> MinioServer:
    """A store with its data in `folder`; use with `with`. Raises `ToolMissing`."""
    return MinioServer(Path(folder), tls, port)
