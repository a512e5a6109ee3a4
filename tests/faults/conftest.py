"""The short plan, run once on the embedded log: its end is looked at from several sides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.__main__ import Fired, fired
from tests.faults.house import House
from tests.faults.plan import Fault, short

SESSION = 3.0


def plan_of(hurt: House) -> Iterator[Fault]:
    """The short plan for that house."""
    return short(hurt.session)


@pytest.fixture(scope="session")
def sqlite_run() -> Iterator[Fired]:
    """A house that was hurt at every point; its files lie there still."""
    with fired("sqlite", plan_of, 5, session=SESSION) as run:
        yield run


@pytest.fixture(scope="session")
def kafka_run() -> Iterator[Fired]:
    """The same on Kafka, MinIO and PostgreSQL, which are no more."""
    with fired("kafka", plan_of, 5, session=SESSION) as run:
        yield run
