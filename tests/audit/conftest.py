"""Commands of an auditor, over a relay that has lived."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.audit.relay import Lived


@pytest.fixture
def ask(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands of an auditor of the embedded one."""
    monkeypatch.setenv("VOXRELAY_DATA", str(lived.settings.data))
    return CliRunner()
