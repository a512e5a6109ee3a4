"""What tests of the relay share."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from relay.log.kafka import KafkaLog
from relay.settings import Settings
from tests.relay.kafka_hands import QUICK
from tests.relay.kafka_mortal import ForgetfulKafka, Mortal


@pytest.fixture(scope="session")
def mortal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mortal]:
    """A broker to be killed; whoever does starts it again."""
    request.getfixturevalue("kafka_server")  # skips where there can be none
    with ForgetfulKafka(tmp_path_factory.mktemp("kafka"), {}) as server:
        yield Mortal(server)


@pytest.fixture
async def make_kafka() -> AsyncIterator[Callable[[str], KafkaLog]]:
    """Logs by the address of their broker, closed at the end."""
    made: list[KafkaLog] = []

    def make(bootstrap: str) -> KafkaLog:
        made.append(KafkaLog(Settings(log=f"kafka://{bootstrap}"), QUICK))
        return made[-1]

    yield make
    for log in made:
        await log.close()
