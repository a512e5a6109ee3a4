"""Records of Kafka as ours."""

from __future__ import annotations

from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from relay.log.port import Record


def to_record(found: ConsumerRecord[bytes | None, bytes | None]) -> Record:
    """`found` as the port spells it; a key that is not UTF-8 goes back as it came."""
    return Record(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        key=(found.key or b"").decode("utf-8", "surrogateescape"),
        value=found.value or b"",
        headers=tuple((name, value or b"") for name, value in found.headers),
        appended=moment(found.timestamp),
    )


def moment(milliseconds: int) -> datetime:
    """The instant so long after 1970, exactly."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def milliseconds(time: datetime) -> int:
    """The first whole millisecond at or after `time`, since 1970."""
    past = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return -(-(past.days * 86_400_000_000 + past.seconds * 1_000_000 + past.microseconds) // 1000)
