"""A relay that has lived, on either log."""

from __future__ import annotations

import pytest

from tests.audit.relay import Lived


@pytest.fixture(params=["sqlite", "kafka"])
def house(request: pytest.FixtureRequest) -> Lived:
    name = "lived" if request.param == "sqlite" else "lived_on_kafka"
    found: Lived = request.getfixturevalue(name)
    return found
