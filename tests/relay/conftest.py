"""What tests of the relay share."""

from collections.abc import Iterator

import pytest

from tests.relay.kafka_mortal import ForgetfulKafka, Mortal


@pytest.fixture(scope="session")
def mortal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mortal]:
    """A broker to be killed; whoever does starts it again."""
    request.getfixturevalue("kafka_server")  # skips where there can be none
    with ForgetfulKafka(tmp_path_factory.mktemp("kafka"), {}) as server:
        yield Mortal(server)
