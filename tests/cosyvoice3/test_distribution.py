"""The engine as a distribution of its own: built, installed where nothing else of ours is, run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "synth" / "cosyvoice3"
DOCS = Path(__file__).parents[2] / "docs" / "cosyvoice3.md"
OURS = (
    "schemas",
    "relay",
    "ingest",
    "moderation",
    "synth",
    "delivery",
    "audit",
    "voxrelay",
    "infra",
)
SPEAK = """
import wave, sys, numpy, pathlib
from cosyvoice3_engine import tiny
tiny.write(pathlib.Path("model"))
wave_ = 8000 * numpy.sin(numpy.arange(24000 * 2) / 20)
with wave.open("me.wav", "wb") as file:
    file.setparams((1, 2, 24000, 0, "NONE", ""))
    file.writeframes(wave_.astype("<i2").tobytes())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    copy = source / "engine"
    shutil.copytree(ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True, timeout=60)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with this wheel and, of the libraries it asks for, the ones that are here."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=60
    )
    site = next((home / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    return home / "bin" / "python"


def run(python: Path, code: list[str], cwd: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(cwd)}
    done = subprocess.run(
        [str(python), *code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_engine_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "cosyvoice3_engine",
        "cosyvoice3_engine-0.1.0.dist-info",
    }
    assert sum(name.endswith(".py") for name in names) == len(list(ENGINE.glob("*.py")))


def test_the_engine_imports_nothing_of_ours() -> None:
    imports = re.compile(rf"^\s*(?:from|import) ({'|'.join(OURS)})\b", re.MULTILINE)
    for path in ENGINE.glob("*.py"):
        assert not imports.search(path.read_text("utf-8")), path.name


def test_the_ten_lines_of_the_documentation_speak(python: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", DOCS.read_text("utf-8"), re.DOTALL)[:1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    run(python, ["-c", SPEAK], tmp_path)
    spoken = run(python, ["-c", code], tmp_path)
    seconds = [float(number) for number in re.findall(r"[0-9.]+", spoken)]
    assert len(seconds) >= 2
    assert sum(seconds) > 1
