"""Who holds what: members, their fair share, and the claims' epochs, as acts in a transaction.

Knows the tables `members` and `claims`. Refuses to know consumers and callbacks. A member lives
while it beats; whoever finds one dead frees what it held, and the raised epoch fences it should it
come back. The share of a member is counted, not drawn, so a member keeps what it has within it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relay.errors import Misconfigured
from relay.log.port import Committed


@dataclass(frozen=True, slots=True)
class Held:
    """A claim that is ours since this transaction."""

    id: int
    partition: int
    topic: str
    number: int
    epoch: int
    committed: Committed


@dataclass(frozen=True, slots=True)
class Balance:
    """What a member finds: newly taken claims, what to give up, and all it holds (id → epoch)."""

    taken: Sequence[Held]
    excess: Collection[int]
    held: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Membership:
    """Who a member is; `session` is how many seconds it lives without a beat."""

    id: str
    group: str
    topics: tuple[str, ...]
    session: float

    def balance(self, line: sqlite3.Connection, known: Collection[int]) -> Balance:
        """Beat, bury the dead, take what is free within our share.

        `known` are the claims the member knows of; one that it holds unknowingly (it was
        cancelled while taking it) is taken again.
        """
        self._beat(line)
        taken: list[int] = []
        excess: list[int] = []
        for rank, topic in enumerate(self.topics):
            free, mine, share = self._share(line, topic, rank)
            taken += [id_ for id_ in mine[:share] if id_ not in known]
            taken += free[: max(0, share - len(mine))]
            excess += mine[share:]
        return Balance([self._take(line, id_) for id_ in taken], excess, self._held(line))

    def reclaim(self, line: sqlite3.Connection, id_: int) -> Held | None:
        """The claim under a new epoch, or None where it is no longer ours."""
        owner = line.execute("select member from claims where id = ?", [id_]).fetchone()[0]
        return self._take(line, id_) if owner == self.id else None

    def release(self, line: sqlite3.Connection, ids: Collection[int]) -> None:
        """Give the claims up, so that another takes them at once."""
        line.execute(
            "update claims set member = null, epoch = epoch + 1"
            " where member = ? and id in (select value from json_each(?))",
            [self.id, json.dumps(list(ids))],
        )

    def leave(self, line: sqlite3.Connection) -> None:
        """Give everything up and be no member any more."""
        line.execute(
            "update claims set member = null, epoch = epoch + 1 where member = ?", [self.id]
        )
        line.execute("delete from members where id = ?", [self.id])

    def _beat(self, line: sqlite3.Connection) -> None:
        now = time.monotonic()
        line.execute(
            'insert into members (id, "group", topics, expires) values (?, ?, ?, ?)'
            " on conflict (id) do update set expires = excluded.expires",
            [self.id, self.group, json.dumps(self.topics), now + self.session],
        )
        # The clock starts anew with the machine: a beat from too far ahead is from before that.
        line.execute(
            'delete from members where "group" = ? and (expires < ? or expires > ?)',
            [self.group, now, now + 10 * self.session],
        )
        line.execute(
            "update claims set member = null, epoch = epoch + 1"
            ' where "group" = ? and member is not null and member not in (select id from members)',
            [self.group],
        )

    def _share(
        self, line: sqlite3.Connection, topic: str, rank: int
    ) -> tuple[list[int], list[int], int]:
        """Free claims of `topic`, our claims of it, and how many of it should be ours."""
        members = [
            id_
            for id_, topics in line.execute(
                'select id, topics from members where "group" = ? order by rowid', [self.group]
            )
            if topic in json.loads(topics)
        ]
        claims = line.execute(_CLAIMS, [self.group, topic]).fetchall()
        if not claims:
            raise Misconfigured(_MISSING.format(group=self.group, topic=topic))
        place = (members.index(self.id) + rank) % len(members)
        share, rest = divmod(len(claims), len(members))
        free = [id_ for id_, member in claims if member is None]
        mine = [id_ for id_, member in claims if member == self.id]
        return free, mine, share + (place < rest)

    def _take(self, line: sqlite3.Connection, id_: int) -> Held:
        line.execute("update claims set member = ?, epoch = epoch + 1 where id = ?", [self.id, id_])
        partition, topic, number, epoch, offset, metadata = line.execute(_HELD, [id_]).fetchone()
        return Held(id_, partition, topic, number, epoch, Committed(offset, metadata))

    def _held(self, line: sqlite3.Connection) -> Mapping[int, int]:
        return dict(line.execute("select id, epoch from claims where member = ?", [self.id]))


_MISSING = (
    "group {group} has no offsets on topic {topic}: run `voxrelay topics apply` before the stages"
)
_CLAIMS = """
select c.id, c.member from claims c
join partitions p on p.id = c.partition join topics t on t.id = p.topic
where c."group" = ? and t.name = ? order by p.number
"""
_HELD = """
select p.id, t.name, p.number, c.epoch, c."offset", c.metadata from claims c
join partitions p on p.id = c.partition join topics t on t.id = p.topic
where c.id = ?
"""
