"""What a witness says about a bundle: which of its hours were left there, and whether as they are.

Knows that only what was left under a lock binds those who left it. Refuses to be needed: a bundle
verifies without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit.verify import Report
from audit.witness import Testimony, Witness
from schemas.envelope import format_time


@dataclass(frozen=True, slots=True)
class Witnessed:
    """An hour that the witness knew at `left`, and that nobody can take back before `locked`."""

    hour: datetime
    left: datetime
    locked: datetime | None


async def ask(witness: Witness, report: Report) -> Sequence[Witnessed]:
    """The hours of `report` that were witnessed as they are; others become findings in it.

    An hour that the witness does not know is neither.
    """
    found = list[Witnessed]()
    for root in report.roots:
        held = await witness.holds(root)
        if held is None:
            continue
        if held.statement == root.statement:
            found.append(Witnessed(root.hour, held.left, held.locked))
        else:
            report.add("not as witnessed", format_time(root.hour), _said(held))
    return found


def _said(held: Testimony) -> str:
    return f"the witness has had since {format_time(held.left)}: {held.statement}"
