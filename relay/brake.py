"""The brake of a stage that buries nearly everything: it stays pulled until a person lets go.

Knows the row that says so, which outlives the process: a supervisor starts that again, and each
life would bury some more. Refuses to know when to pull (`relay.letters` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from relay.errors import Unavailable
from relay.sql.database import Database, Transaction
from relay.sql.schema import halts


class Brake:
    """The brake of one group, the same for all its processes; each looks when it starts."""

    def __init__(self, database: Database, group: str) -> None:
        self._database, self._group = database, group

    async def check(self) -> None:
        """Raise `Unavailable` while the brake is pulled."""
        async with self._database.reading() as tx:
            query = select(halts.c.group).where(halts.c.group == self._group)
            pulled = (await tx.execute(query)).one_or_none() is not None
        if pulled:
            raise Unavailable(
                f"nearly every record of {self._group} became a dead letter: mend the cause, then "
                f"`voxrelay audit dead resume {self._group}`"
            )

    async def pull(self) -> None:
        """Let no process of the group begin."""
        await self._database.run(
            lambda tx: tx.insert_absent(halts, {"group": self._group, "at": tx.now})
        )


@dataclass(frozen=True, slots=True)
class Halt:
    """A group whose brake is pulled, and since when."""

    group: str
    at: datetime


async def pulled(tx: Transaction) -> Sequence[Halt]:
    """The groups that wait for a person."""
    rows = await tx.execute(select(halts).order_by(halts.c.group))
    return [Halt(row.group, row.at) for row in rows]


async def release(tx: Transaction, group: str) -> bool:
    """Let the group go on; False where its brake was not pulled."""
    done = await tx.execute(delete(halts).where(halts.c.group == group))
    return done.rowcount == 1
