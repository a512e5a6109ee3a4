"""Fill the environment: `python infra/install.py [--ours] LOCK ...`; `--ours` adds our packages.

Run with the environment's own Python, standard library only. Knows how this machine gets its
packages (an index, a folder of wheels or an authority set for pip serve uv as well) and which
build of PyTorch suits it. Refuses to know what is in a lock.

PyTorch's default build for Linux brings CUDA (about 3 GB). A machine without an NVIDIA driver gets
the CPU build where its index answers; that build is not in the lock, so its version is the
locked one and its hash is the index's word. VOXRELAY_TORCH=locked never tries it.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

OURS = "--ours"
BOOTSTRAP = Path(__file__).with_name("bootstrap.txt")
BIN = Path(sys.executable).parent
CUDA_ONLY = re.compile(r"(nvidia|cuda)-|(triton|torch)(==|$)")
ANSWERS_WITHIN_S = "8"
SIZES = {True: "0.7 GB (PyTorch for the CPU)", False: "3.4 GB (PyTorch with CUDA; 6.2 GB on disk)"}


def main(words: list[str]) -> int:
    """Install what the locks name, then our own packages if asked; returns an exit status."""
    locks = [word for word in words if word != OURS]
    environment = {**os.environ, **borrowed_from_pip()}
    if any(installed(n) != version(text) for n, text in requirements([str(BOOTSTRAP)])):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "install", "--require-hashes", "-r", str(BOOTSTRAP)], check=True)
    if locks:
        install(dict(requirements(locks)), environment)
    if OURS in words:
        own = ["--no-deps", "--no-build-isolation", "-e", str(Path(__file__).parents[1])]
        uv("install", *own, environment=environment)
    return 0


def install(names: dict[str, str], environment: dict[str, str]) -> None:
    """Install requirements with their hashes; raises CalledProcessError."""
    first = installed("torch") is None
    skip = wants_cpu_torch() and cpu_torch(version(names["torch"]), environment)
    if first and sys.platform == "linux":
        print(f"Downloading once, from the package index: about {SIZES[skip]}.", flush=True)
    kept = "".join(text for name, text in names.items() if not (skip and CUDA_ONLY.match(name)))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as chosen:
        chosen.write(kept)
    try:
        uv("install", "--no-deps", "--require-hashes", "-r", chosen.name, environment=environment)
    finally:
        Path(chosen.name).unlink()


def requirements(locks: Iterable[str]) -> Iterable[tuple[str, str]]:
    """(name and marker, text) of each requirement in the locks, hashes and all."""
    for lock in locks:
        for block in re.split(r"\n(?=\S)", Path(lock).read_text()):
            if "==" in block and not block.startswith("#"):
                head = block.split(" \\", 1)[0]
                yield head if ";" in head else head.split("==")[0], block + "\n"


def version(requirement: str) -> str:
    """`2.9.0` of `torch==2.9.0 \\ --hash=...`."""
    return requirement.split("==", 1)[1].split()[0]


def wants_cpu_torch() -> bool:
    """Whether the locked build would bring CUDA to a machine that cannot use it."""
    if os.environ.get("VOXRELAY_TORCH") == "locked" or sys.platform != "linux":
        return False
    driver = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
    return not driver and platform.machine() in ("x86_64", "aarch64")


def cpu_torch(wanted: str, environment: dict[str, str]) -> bool:
    """Install PyTorch's CPU build if its index answers; False at once where it does not."""
    have = installed("torch")
    if have is not None and have.split("+")[0] == wanted:
        return have.endswith("+cpu")
    impatient = {**environment, "UV_HTTP_TIMEOUT": ANSWERS_WITHIN_S, "UV_HTTP_RETRIES": "0"}
    try:
        uv("install", "--dry-run", *_cpu(wanted), environment=impatient, quiet=True)
        uv("install", *_cpu(wanted), environment=environment)
    except subprocess.CalledProcessError:
        print("PyTorch's index of CPU builds does not answer: taking the default.", flush=True)
        return False
    return True


def _cpu(wanted: str) -> list[str]:
    return ["--no-deps", "--torch-backend=cpu", f"torch=={wanted}"]


def installed(name: str) -> str | None:
    """The version of a distribution in this environment."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def borrowed_from_pip() -> dict[str, str]:
    """Variables that give uv what pip was given: an index, wheels in a folder, an authority."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    entries = re.findall(r"^([\w:]+)\.([\w-]+)='(.*)'$", said, re.MULTILINE)
    entries.sort(key=lambda entry: entry[0] == ":env:")  # a variable wins over a file
    pip = {name: value for _, name, value in entries}
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "cert": "SSL_CERT_FILE",
    }
    found = {theirs: pip[ours] for ours, theirs in names.items() if ours in pip}
    folder = found.get("UV_FIND_LINKS", "")
    if folder and "://" not in folder and not Path(folder).is_dir():
        del found["UV_FIND_LINKS"]  # pip shrugs at a folder that is not there, uv does not
    return {name: value for name, value in found.items() if name not in os.environ}


def uv(*words: str, environment: dict[str, str], quiet: bool = False) -> None:
    """Run `uv pip`; raises CalledProcessError."""
    command = [str(BIN / "uv"), "pip", words[0], "--python", sys.executable, *words[1:]]
    silent = subprocess.DEVNULL if quiet else None
    subprocess.run(command, check=True, env=environment, stdout=silent, stderr=silent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
