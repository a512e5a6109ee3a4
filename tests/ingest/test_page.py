"""The page at `/` and the API's at `/docs`: whole by themselves, and nothing beside them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from tests.ingest.conftest import House

SCRIPTS = [file.name for file in files("voxrelay_web").iterdir() if file.name.endswith(".js")]


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_loads_nothing_from_strangers_and_runs_its_own_script_alone(
    gateway: House, path: str
) -> None:
    async with gateway.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=[\"'](https?:)?//", answer.text)
    assert not re.search(r"\son\w+=|\sstyle=|innerHTML", answer.text)


async def test_what_the_page_loads_is_there_and_kept_until_it_changes(gateway: House) -> None:
    async with gateway.client() as client:
        html = (await client.get("/")).text
        loaded = set(re.findall(r'(?:src|href)="(/page/[^"]+)"', html))
        assert len(loaded) == 3
        for path in loaded | {f"/page/{name}" for name in SCRIPTS}:
            answer = await client.get(path)
            kind = "text/css" if path.endswith("css") else "text/javascript"
            assert answer.headers["content-type"].startswith(kind)
            again = {"if-none-match": answer.headers["etag"]}
            assert (await client.get(path, headers=again)).status_code == 304
            assert not re.search(r"innerHTML|\beval\b|https?://", answer.text), path


async def test_nothing_else_that_lies_beside_the_page_is_served(gateway: House) -> None:
    async with gateway.client() as client:
        for name in ("__init__.py", "index.html", "..%2f__init__.py", "no.js"):
            answer = await client.get(f"/page/{name}")
            assert answer.status_code == 404
            assert answer.json()["code"] == "not_found"


def test_an_installed_relay_has_the_page_too(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    lie_here = {file.name for file in files("voxrelay_web").iterdir() if file.is_file()}
    assert "index.html" in lie_here
    assert {f"voxrelay_web/{name}" for name in lie_here} <= names
