"""What a redriven record says of whom it is for."""

from datetime import UTC, datetime

import pytest

from relay.errors import BadRecord
from relay.letters import CUT, OFFSET, REDRIVE, bury, meant_for
from relay.log.port import LONGEST, Record


@pytest.mark.parametrize(("named", "ours"), [(b"view", True), (b"synth", False), (b"\xff", False)])
def test_a_redriven_record_is_for_the_group_it_names_alone(named: bytes, ours: bool) -> None:
    """Bytes that are no text name nobody, and are no bug of whoever reads them."""
    record = Record("t", 0, 0, "job", b"", ((REDRIVE, named),), datetime.now(UTC))
    assert meant_for(record, "view") is ours


@pytest.mark.parametrize(
    ("key", "value", "header", "cut"),
    [(9, 900_000, 9, False), (9, LONGEST, 9, True), (9, 9, LONGEST, True), (LONGEST, 9, 9, True)],
)
def test_a_letter_is_never_longer_than_a_log_takes(
    key: int, value: int, header: int, cut: bool
) -> None:
    """A record of some stranger may be as large as the broker allows."""
    headers = (("h", b"x" * header),)
    record = Record("prompt-uploaded", 3, 7, "k" * key, b"x" * value, headers, datetime.now(UTC))
    letter = bury(record, "synth", BadRecord("code", "why"), "1")
    assert letter.size <= LONGEST
    said = dict(letter.headers)
    assert said[OFFSET] == b"3/7"
    assert (CUT in said) is cut
    assert (letter.value == record.value) is not cut
