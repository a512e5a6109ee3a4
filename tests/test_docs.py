"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.events import BY_TYPE
from schemas.topics import BY_NAME
from voxrelay.configuration import names, reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_of_settings_is_the_settings() -> None:
    said = (ROOT / "docs/configuration.md").read_text()
    assert said == reference(), "run: python -m voxrelay.configuration > docs/configuration.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_settings_and_files_that_exist(page: Path) -> None:
    text = page.read_text()
    allowed = names() | {"VOXRELAY_TORCH"}
    for variable in re.findall(r"VOXRELAY_[A-Z0-9_]+[A-Z0-9]", text):
        if not variable.startswith("VOXRELAY_TEST_"):
            assert variable in allowed, f"{page.name} names {variable}"
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_page_on_events_names_them_all() -> None:
    text = (ROOT / "docs/events.md").read_text()
    for name in (*BY_NAME, *BY_TYPE):
        assert f"`{name}`" in text
