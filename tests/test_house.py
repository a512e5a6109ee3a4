"""The arrows of the house: who may import whom, read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = {
    "schemas",
    "relay",
    "ingest",
    "moderation",
    "synth",
    "delivery",
    "audit",
    "analytics",
    "voxrelay",
    "infra",
}
MAY_IMPORT = {
    "schemas": set(),
    "relay": {"schemas"},
    "ingest": {"schemas", "relay"},
    "moderation": {"schemas", "relay"},
    "synth": {"schemas", "relay"},
    "delivery": {"schemas", "relay"},
    "audit": {"schemas", "relay"},
    "analytics": {"schemas", "relay"},
    "infra": {"schemas", "relay"},
    "voxrelay": HOUSE,
}


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} holds no module"
    return found


PURE = {
    "audit": frozenset({"moderation.decide", "moderation.hearing", "moderation.policy"}),
}
"""What a folder may take of a stage: its decision, and the values it is made from."""


def imported(path: Path, allowed: frozenset[str] = frozenset()) -> set[str]:
    """Top-level packages of ours that a module imports, wherever in it, but for `allowed`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module in allowed:
                continue
            found.add(node.module.split(".")[0])
    return found & HOUSE


@pytest.mark.parametrize("package", sorted(HOUSE))
def test_a_folder_imports_only_what_the_house_allows(package: str) -> None:
    for path in modules(package):
        strangers = imported(path, PURE.get(package, frozenset())) - MAY_IMPORT[package] - {package}
        assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


@pytest.mark.parametrize("distribution", ["synth/cosyvoice3", "clients/python", "clients/web"])
def test_what_is_installed_alone_imports_nothing_of_ours(distribution: str) -> None:
    for path in modules(distribution):
        assert not imported(path), f"{path.relative_to(ROOT)} imports {sorted(imported(path))}"


@pytest.mark.parametrize("package", sorted(HOUSE))
def test_every_module_says_what_it_is(package: str) -> None:
    for path in modules(package):
        if path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
