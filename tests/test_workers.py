"""Files that share what is dear run in one worker, and the longest first."""

from __future__ import annotations

from pathlib import Path

from tests.workers import LONGEST, TOGETHER, next_of, unit

ROOT = Path(__file__).parents[1]


def test_every_name_leads_somewhere() -> None:
    alone = [name for name in LONGEST if name not in TOGETHER]
    for path in (*alone, *(path for paths in TOGETHER.values() for path in paths)):
        assert (ROOT / path).exists(), path


def test_a_file_is_a_unit_and_what_shares_a_house_is_one() -> None:
    assert unit("tests/relay/test_window.py::TestWindow::test_x") == "tests/relay/test_window.py"
    shared = {unit(f"tests/journeys/{file}.py::test_x[a]") for file in ("test_proxy", "test_page")}
    assert shared == {"a relay on each set-up, with real models"}
    assert len({unit(f"{path}::test_x") for path in TOGETHER["a house hurt at every point"]}) == 1


def test_the_longest_of_those_that_wait_comes_first_and_then_whatever_is_next() -> None:
    assert next_of(["tests/b.py", LONGEST[2], LONGEST[1]]) == LONGEST[1]
    assert next_of(["tests/b.py", "tests/a.py"]) == "tests/b.py"
