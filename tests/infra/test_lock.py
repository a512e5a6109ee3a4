"""The locks: everything hashed, nothing that says where it comes from, both of one mind."""

import re
import tomllib
from pathlib import Path

import pytest

from infra import install

ROOT = Path(__file__).parents[2]
LOCKS = [
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-bench.lock",
    "infra/bootstrap.txt",
]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    found = dict(install.requirements([str(ROOT / lock)]))
    assert found
    for text in found.values():
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", text)
        assert "--hash=sha256:" in text


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_packages_come_from(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)", text, re.MULTILINE)
    assert not re.search(r"\b[\w-]+\.(org|com|io)\b", text)


def test_the_two_locks_agree() -> None:
    run = dict(install.requirements([str(ROOT / "requirements.lock")]))
    develop = dict(install.requirements([str(ROOT / "requirements-dev.lock")]))
    assert run.items() <= develop.items()


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    asked = {
        "requirements.lock": [*project["project"]["dependencies"], *groups["demo"]],
        "requirements-dev.lock": groups["dev"],
        "requirements-bench.lock": groups["bench"],
    }
    for lock, wanted in asked.items():
        text = (ROOT / lock).read_text()
        for requirement in wanted:
            name = re.split(r"[<>=\[]", requirement)[0]
            assert re.search(rf"^{re.escape(name)}(\[.*\])?==", text, re.MULTILINE), name


@pytest.mark.parametrize(
    ("name", "cuda_only"),
    [
        ("torch", True),
        ("triton==3.9.0 ; sys_platform == 'linux'", True),
        ("nvidia-cublas==13.4.1.3 ; sys_platform == 'linux'", True),
        ("cuda-bindings==13.5.0 ; sys_platform == 'linux'", True),
        ("torchaudio", False),
        ("numpy==2.5.5 ; python_full_version >= '3.12'", False),
    ],
)
def test_what_the_cpu_build_of_torch_leaves_out(name: str, cuda_only: bool) -> None:
    assert bool(install.CUDA_ONLY.match(name)) is cuda_only


def test_uv_borrows_what_pip_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_FIND_LINKS", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CERT", "/etc/authority.pem")
    found = install.borrowed_from_pip()
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert found["UV_FIND_LINKS"] == str(tmp_path)
    assert found["SSL_CERT_FILE"] == "/etc/authority.pem"
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://chosen.example/simple")
    found = install.borrowed_from_pip()
    assert "UV_FIND_LINKS" not in found
    assert "UV_DEFAULT_INDEX" not in found
