"""What a redriven record says of whom it is for."""

from datetime import UTC, datetime

import pytest

from relay.letters import REDRIVE, meant_for
from relay.log.port import Record


@pytest.mark.parametrize(("named", "ours"), [(b"view", True), (b"synth", False), (b"\xff", False)])
def test_a_redriven_record_is_for_the_group_it_names_alone(named: bytes, ours: bool) -> None:
    """Bytes that are no text name nobody, and are no bug of whoever reads them."""
    record = Record("t", 0, 0, "job", b"", ((REDRIVE, named),), datetime.now(UTC))
    assert meant_for(record, "view") is ours
