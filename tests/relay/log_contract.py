"""What every log promises: one suite, run over each implementation.

A subclass says where its log lies and how another owner would fence a claim; everything else is
here. Waiting is by condition and bounded; nothing sleeps for a fixed time.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from relay.errors import Fenced, Misconfigured
from relay.log.port import LONGEST, Claim, Committed, Consumer, Log, Message, Place, Record
from relay.note import Note
from tests.servers import unique

PARTITIONS = 4
PATIENCE = 60.0
POLL = 0.2


class Hand:
    """A member that remembers what it is told and, where asked to, answers every record."""

    def __init__(self, answer_to: str | None = None) -> None:
        self.claims: set[Claim] = set()
        self.got: list[Record] = []
        self.revocations = 0
        self.consumer: Consumer | None = None
        self._answer_to = answer_to

    async def assigned(self, claim: Claim) -> None:
        assert claim not in self.claims
        self.claims.add(claim)

    async def revoked(self, claim: Claim) -> None:
        self.claims.discard(claim)
        self.revocations += 1

    @property
    def partitions(self) -> set[tuple[str, int]]:
        return {(claim.topic, claim.partition) for claim in self.claims}

    def claim(self, partition: int) -> Claim:
        (found,) = (claim for claim in self.claims if claim.partition == partition)
        return found

    async def poll(self) -> None:
        assert self.consumer is not None
        for claim, records in (await self.consumer.poll(POLL)).items():
            self.got += records
            if self._answer_to is not None:
                await answer(claim, records, self._answer_to)


async def answer(claim: Claim, records: Sequence[Record], topic: str) -> None:
    """Commit an echo of each record with the offset behind the last."""
    echoes = [Message(topic, r.key, r.value, r.headers) for r in records]
    with suppress(Fenced):
        await claim.commit(Committed(records[-1].offset + 1, "done"), echoes)


async def until(condition: Callable[[], object], *hands: Hand) -> None:
    """Let `hands` poll until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            if hands:
                await asyncio.gather(*(hand.poll() for hand in hands))
            else:
                await asyncio.sleep(POLL / 4)


def shared(*hands: Hand) -> bool:
    """Whether the hands hold all partitions between them, each once, and evenly."""
    held = [place for hand in hands for place in hand.partitions]
    sizes = [len(hand.partitions) for hand in hands]
    return len(held) == len(set(held)) == PARTITIONS and max(sizes) - min(sizes) <= 1


def messages(topic: str, count: int, keys: int = 8) -> list[Message]:
    """`count` messages of `keys` keys; the value is the number."""
    return [Message(topic, f"key-{n % keys}", b"%d" % n) for n in range(count)]


def by_key(records: Iterable[Record]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for record in records:
        found[record.key].append(int(record.value))
    return found


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def by_place(records: Iterable[Record]) -> dict[Place, list[Record]]:
    found = defaultdict(list)
    for record in records:
        found[record.topic, record.partition].append(record)
    return found


class Names:
    """Topics, group and source of one test."""

    def __init__(self) -> None:
        self.first, self.second = unique("first"), unique("second")
        self.group, self.source = unique("group"), unique("source")


class LogContract:
    """Subclass it, give `spec` and `fence`."""

    trailing = 0
    """Offsets behind the last record of a partition that belong to no record (commit markers)."""

    @pytest.fixture
    def spec(self) -> str:
        """Where the log lies, as `tests.relay.log_worker.open_log_at` reads it."""
        raise NotImplementedError

    async def fence(self, spec: str, group: str, claim: Claim) -> None:
        """Do to `claim` what another owner's taking it would."""
        raise NotImplementedError

    @pytest.fixture
    async def make_log(self, spec: str) -> AsyncIterator[Callable[..., Log]]:
        """Opens logs on the same ground, each as another process would."""
        from tests.relay.log_worker import open_log_at

        made: list[Log] = []

        def make(**patience: float) -> Log:
            made.append(open_log_at(spec, **patience))
            return made[-1]

        yield make
        for log in made:
            await log.close()

    @pytest.fixture
    def names(self) -> Names:
        return Names()

    @pytest.fixture
    async def log(self, make_log: Callable[[], Log], names: Names) -> Log:
        """A log with two topics, a group on the first, and a source."""
        log = make_log()
        await log.apply(
            {names.first: PARTITIONS, names.second: PARTITIONS},
            {names.group: [names.first]},
            [names.source],
        )
        return log

    # -- records ------------------------------------------------------------------------------

    async def test_a_record_comes_back_as_it_was_appended(self, log: Log, names: Names) -> None:
        before = datetime.now(UTC) - timedelta(seconds=5)
        headers = (("ce_id", b"1"), ("ce_id", b"again"), ("raw", bytes(range(256))), ("none", b""))
        sent = [
            Message(names.first, "key", b'{"text":"\xe4\xbd\xa0"}', headers),
            Message(names.first, "\u4f60\u597d", b"", ()),
            Message(names.first, "key", bytes(range(256)) * 300),
        ]
        await append(log, names.source, sent, 1)
        got = [record async for record in log.read([names.first])]
        assert sorted((r.key, r.value, r.headers) for r in got) == sorted(
            (m.key, m.value, m.headers) for m in sent
        )
        for record in got:
            assert record.topic == names.first
            assert before < record.appended < datetime.now(UTC) + timedelta(seconds=5)

    async def test_order_is_kept_per_key_and_keys_spread(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 100), 1)
        await append(log, names.source, [Message(names.first, "key-1", b"100")], 2)
        hand = await joined(log, names)
        await until(lambda: len(hand.got) == 101, hand)
        for numbers in by_key(hand.got).values():
            assert numbers == sorted(numbers)
        homes = {(record.key, record.partition) for record in hand.got}
        assert len(homes) == 8  # equal keys, one partition
        assert len({partition for _, partition in homes}) > 1
        assert homes == {(key, log.partition_of(key, PARTITIONS)) for key, _ in homes}

    async def test_offsets_of_a_partition_rise(self, log: Log, names: Names) -> None:
        for n in range(5):
            await append(log, names.source, messages(names.first, 20), n + 1)
        offsets = defaultdict(list)
        async for record in log.read([names.first]):
            offsets[record.partition].append(record.offset)
        assert sum(map(len, offsets.values())) == 100
        for found in offsets.values():
            assert found == sorted(set(found))

    async def test_a_large_append_arrives_whole(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 3000), 1)
        hand = await joined(log, names)
        await until(lambda: len(hand.got) >= 3000, hand)
        assert Counter(int(r.value) for r in hand.got) == Counter(range(3000))

    # -- groups -------------------------------------------------------------------------------

    async def test_members_share_all_partitions_and_none_is_held_twice(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        one, two, three = Hand(), Hand(), Hand()
        await join(log, names, one)
        await until(lambda: shared(one), one)
        await join(make_log(), names, two)
        await until(lambda: shared(one, two), one, two)
        await join(log, names, three)  # beside another member of its process
        await until(lambda: shared(one, two, three), one, two, three)
        assert one.consumer is not None
        await one.consumer.close()
        assert not one.claims
        await until(lambda: shared(two, three), two, three)

    async def test_more_members_than_partitions_is_no_harm(self, log: Log, names: Names) -> None:
        hands = [Hand() for _ in range(PARTITIONS + 1)]
        for hand in hands:
            await join(log, names, hand)
        await until(lambda: shared(*hands), *hands)

    async def test_who_closes_is_followed_at_once(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        one, two = Hand(), Hand()
        await join(log, names, one)
        await join(make_log(), names, two)
        await until(lambda: shared(one, two), one, two)
        assert one.consumer is not None
        closed = time.monotonic()
        await one.consumer.close()
        await until(lambda: shared(two), two)
        assert time.monotonic() - closed < 4.0  # a session is longer than that

    async def test_two_groups_each_see_every_record(self, log: Log, names: Names) -> None:
        other = Names()
        other.first = names.first
        await log.apply({}, {other.group: [names.first]}, [])
        await append(log, names.source, messages(names.first, 30), 1)
        one, two = await joined(log, names), await joined(log, other)
        await until(lambda: len(one.got) == len(two.got) == 30, one, two)

    async def test_one_member_may_read_several_topics(self, log: Log, names: Names) -> None:
        await log.apply({}, {names.group: [names.second]}, [])
        await append(log, names.source, messages(names.first, 10), 1)
        await append(log, names.source, messages(names.second, 10), 2)
        hand = Hand()
        hand.consumer = await log.join(names.group, [names.first, names.second], hand)
        await until(lambda: len(hand.got) == 20, hand)
        assert len(hand.partitions) == 2 * PARTITIONS

    # -- the atomic step ----------------------------------------------------------------------

    async def test_replies_offset_and_note_go_in_one_step(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        await append(log, names.source, [Message(names.first, "k", b"%d" % n) for n in range(9)], 1)
        hand = await joined(log, names)
        await until(lambda: len(hand.got) == 9, hand)
        claim = hand.claim(hand.got[0].partition)
        note = "n" * 4000
        replies = [Message(names.second, "k", b"reply"), Message(names.second, "l", b"other")]
        mark = Committed(hand.got[3].offset, note)
        await claim.commit(mark, replies)
        assert {r.value async for r in log.read([names.second])} == {b"reply", b"other"}
        assert hand.consumer is not None
        await hand.consumer.close()

        heir = await joined(make_log(), names)
        await until(lambda: len(heir.got) == 6, heir)
        assert heir.claim(claim.partition).committed == mark
        assert [int(r.value) for r in heir.got] == [3, 4, 5, 6, 7, 8]

    async def test_a_commit_without_replies_moves_the_offset(self, log: Log, names: Names) -> None:
        await append(log, names.source, [Message(names.first, "k", b"0")], 1)
        hand = await joined(log, names)
        await until(lambda: hand.got, hand)
        claim = hand.claim(hand.got[0].partition)
        await claim.commit(Committed(hand.got[0].offset, "alone"), [])
        await claim.commit(Committed(hand.got[0].offset + 1), [])
        assert hand.consumer is not None
        await hand.consumer.close()
        heir = await joined(log, names)
        await until(lambda: shared(heir), heir)
        assert heir.claim(claim.partition).committed == Committed(hand.got[0].offset + 1)

    async def test_a_note_that_no_broker_would_keep_is_refused_and_the_claim_stands(
        self, log: Log, names: Names
    ) -> None:
        hand = await joined(log, names)
        await until(lambda: shared(hand), hand)
        claim, ghost = hand.claim(0), [Message(names.second, "k", b"ghost")]
        for note in ("n" * 4001, "\u00e9"):
            with pytest.raises(ValueError, match="4000 bytes of ASCII"):
                await claim.commit(Committed(0, note), ghost)
        await claim.commit(Committed(0, "n" * 4000), [Message(names.second, "k", b"ok")])
        assert [r.value async for r in log.read([names.second])] == [b"ok"]

    async def test_a_message_that_no_log_takes_is_refused_and_claim_and_source_stand(
        self, log: Log, names: Names
    ) -> None:
        hand = await joined(log, names)
        await until(lambda: shared(hand), hand)
        claim = hand.claim(0)
        room = LONGEST - Message(names.second, "k", b"").size
        most, over = (Message(names.second, "k", b"x" * n) for n in (room, room + 1))
        with pytest.raises(ValueError, match="too large"):
            await claim.commit(Committed(0), [over])
        await claim.commit(Committed(0), [most])
        async with log.source(names.source) as source:
            with pytest.raises(ValueError, match="too large"):
                await source.append([over], 1)
            await source.append([most], 1)
        assert [len(r.value) async for r in log.read([names.second])] == [room, room]

    async def test_a_fenced_commit_leaves_nothing_behind_and_reclaiming_goes_on(
        self, spec: str, log: Log, names: Names
    ) -> None:
        await append(log, names.source, [Message(names.first, "k", b"%d" % n) for n in range(4)], 1)
        hand = await joined(log, names)
        await until(lambda: len(hand.got) == 4, hand)
        claim = hand.claim(hand.got[0].partition)
        kept = Committed(hand.got[2].offset, "kept")
        await claim.commit(kept, [])
        await self.fence(spec, names.group, claim)
        with pytest.raises(Fenced):
            await claim.commit(Committed(99), [Message(names.second, "k", b"ghost")])

        assert hand.consumer is not None
        again = await hand.consumer.reclaim(claim)
        assert again is not None
        assert again.committed == kept
        hand.claims = {c for c in hand.claims if c is not claim} | {again}
        hand.got.clear()
        await until(lambda: len(hand.got) == 2, hand)
        assert [int(r.value) for r in hand.got] == [2, 3]
        await again.commit(Committed(hand.got[-1].offset + 1), [Message(names.second, "k", b"ok")])
        with pytest.raises(Fenced):
            await claim.commit(Committed(99), [Message(names.second, "k", b"ghost")])
        assert [r.value async for r in log.read([names.second])] == [b"ok"]

    async def test_after_revoke_a_commit_is_fenced_and_within_it_is_not(
        self, log: Log, names: Names
    ) -> None:
        class Last(Hand):
            async def revoked(self, claim: Claim) -> None:
                await claim.commit(
                    Committed(claim.committed.offset, "last"),
                    [Message(names.second, "k", b"last")],
                )
                await super().revoked(claim)

        hand = Last()
        await join(log, names, hand)
        await until(lambda: shared(hand), hand)
        claim = hand.claim(0)
        assert hand.consumer is not None
        await hand.consumer.close()
        with pytest.raises(Fenced):
            await claim.commit(Committed(99), [Message(names.second, "k", b"ghost")])
        values = [r.value async for r in log.read([names.second])]
        assert values == [b"last"] * PARTITIONS

    async def test_commits_of_many_claims_at_once_all_stand(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 200), 1)
        hand = await joined(log, names)
        await until(lambda: len(hand.got) == 200, hand)
        for part in range(5):
            await asyncio.gather(
                *(
                    claim.commit(
                        Committed(part, f"{part}"),
                        [Message(names.second, f"{claim.partition}", b"%d" % part)] * 3,
                    )
                    for claim in hand.claims
                )
            )
        echoes = by_key([r async for r in log.read([names.second])])
        assert echoes == {f"{n}": sorted([*range(5)] * 3) for n in range(PARTITIONS)}

    # -- delivery -----------------------------------------------------------------------------

    async def test_a_paused_partition_delivers_nothing_until_resumed(
        self, log: Log, names: Names
    ) -> None:
        hand = await joined(log, names)
        await until(lambda: shared(hand), hand)
        await append(log, names.source, [Message(names.first, "k", b"probe")], 1)
        await until(lambda: hand.got, hand)
        still = hand.got[0].partition
        hand.claim(still).pause()
        hand.got.clear()
        sent = messages(names.first, 80) + [Message(names.first, "k", b"%d" % n) for n in range(9)]
        await append(log, names.source, sent, 2)
        others = {r.value async for r in log.read([names.first]) if r.partition != still}
        await until(lambda: {r.value for r in hand.got} >= others, hand)
        assert still not in {r.partition for r in hand.got}
        hand.claim(still).resume()
        await until(lambda: len(hand.got) == len(sent), hand)

    async def test_a_poll_returns_early_when_records_arrive(self, log: Log, names: Names) -> None:
        hand = await joined(log, names)
        await until(lambda: shared(hand), hand)
        assert hand.consumer is not None
        waiting = asyncio.create_task(hand.consumer.poll(30.0))
        await append(log, names.source, messages(names.first, 4), 1)
        async with asyncio.timeout(10):
            assert await waiting

    async def test_an_empty_poll_keeps_to_its_time(self, log: Log, names: Names) -> None:
        hand = await joined(log, names)
        await until(lambda: shared(hand), hand)
        assert hand.consumer is not None
        started = time.monotonic()
        assert not await hand.consumer.poll(0.3)
        assert 0.2 < time.monotonic() - started < 3.0

    # -- sources ------------------------------------------------------------------------------

    async def test_a_sources_position_moves_with_its_append(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        async with log.source(names.source) as source:
            assert source.position == 0
            await source.append(messages(names.first, 3), 3)
            assert source.position == 3
            await source.append([], 7)
        async with make_log().source(names.source) as source:
            assert source.position == 7
        assert len([r async for r in log.read([names.first])]) == 3

    async def test_a_second_holder_fences_the_first(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        async with log.source(names.source) as first:
            await first.append(messages(names.first, 2), 2)
            async with make_log().source(names.source) as second:
                assert second.position == 2
                with pytest.raises(Fenced):
                    await first.append([Message(names.first, "k", b"666")], 9)
                await second.append([Message(names.first, "k", b"3")], 3)
                assert second.position == 3
        values = [int(r.value) async for r in log.read([names.first])]
        assert sorted(values) == [0, 1, 3]

    # -- reading ------------------------------------------------------------------------------

    async def test_replay_from_the_start_and_from_a_time(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 40), 1)
        first = [r async for r in log.read([names.first])]
        split = max(r.appended for r in first) + timedelta(milliseconds=1)
        await until(lambda: datetime.now(UTC) > split)
        await append(log, names.source, [Message(names.first, f"{n}", b"9") for n in range(20)], 2)
        assert len([r async for r in log.read([names.first])]) == 60
        late = [r async for r in log.read([names.first], since=split)]
        assert [r.value for r in late] == [b"9"] * 20
        future = datetime.now(UTC) + timedelta(hours=1)
        assert [r async for r in log.read([names.first], since=future)] == []

    async def test_partitions_are_read_by_number(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 40), 1)
        whole = [r async for r in log.read([names.first])]
        chosen = {max(r.partition for r in whole)}
        wanted = [r for r in whole if r.partition in chosen]
        assert 0 < len(wanted) < len(whole)
        assert [r async for r in log.read([names.first], numbers=chosen)] == wanted
        await append(log, names.source, messages(names.first, 40), 2)
        following = log.read([names.first], follow=True, numbers=chosen)
        async with asyncio.timeout(PATIENCE), aclosing(following) as records:  # type: ignore[type-var]
            found = [await anext(records) for _ in range(2 * len(wanted))]
        assert {r.partition for r in found} == chosen

    async def test_reading_up_to_a_time_leaves_out_what_came_later(
        self, log: Log, names: Names
    ) -> None:
        await append(log, names.source, messages(names.first, 40), 1)
        first = [r async for r in log.read([names.first])]
        split = max(r.appended for r in first) + timedelta(milliseconds=1)
        await until(lambda: datetime.now(UTC) > split)
        await append(log, names.source, messages(names.first, 20), 2)
        early = [r async for r in log.read([names.first], until=split)]
        assert sorted(early, key=_place) == sorted(first, key=_place)
        future = datetime.now(UTC) + timedelta(hours=1)
        assert len([r async for r in log.read([names.first], until=future)]) == 60
        assert [r async for r in log.read([names.first], since=split, until=split)] == []

    async def test_reading_one_key_gives_all_its_records_and_no_other(
        self, log: Log, names: Names
    ) -> None:
        await append(log, names.source, messages(names.first, 40), 1)
        await append(log, names.source, messages(names.second, 8), 2)
        everything = [r async for r in log.read([names.first, names.second])]
        for key in {r.key for r in everything}:
            got = [r async for r in log.read([names.first, names.second], key=key)]
            ours = [r for r in everything if r.key == key]
            assert sorted(got, key=_place) == sorted(ours, key=_place)
        assert [r async for r in log.read([names.first], key="nobody's")] == []

    async def test_reading_ends_where_the_log_ended_when_it_began(
        self, log: Log, names: Names
    ) -> None:
        await append(log, names.source, messages(names.first, 30), 1)
        got = []
        async for record in log.read([names.first, names.second]):
            if not got:
                await append(log, names.source, messages(names.first, 30), 2)
            got.append(record)
        assert len(got) == 30

    async def test_following_sees_what_comes_later(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        await append(log, names.source, messages(names.first, 10), 1)
        got: list[Record] = []

        async def follow() -> None:
            async for record in make_log().read([names.first], follow=True):
                got.append(record)

        following = asyncio.create_task(follow())
        await until(lambda: len(got) == 10)
        await append(log, names.source, messages(names.first, 10), 2)
        await until(lambda: len(got) == 20)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    # -- retention ----------------------------------------------------------------------------

    trims = False
    """Whether the log is told to drop what is old; a broker does so by itself."""

    async def test_what_is_old_and_answered_by_every_group_goes_and_nothing_else(
        self, make_log: Callable[[], Log], log: Log, names: Names
    ) -> None:
        other = Names()
        other.first = names.first
        await log.apply({}, {other.group: [names.first]}, [])
        for n in range(6):  # rows of their own
            await append(log, names.source, [Message(names.first, "k", b"%d" % n)], n + 1)
        hand, slow = await joined(log, names), await joined(log, other)
        await until(lambda: len(hand.got) == len(slow.got) == 6, hand, slow)
        place = hand.got[0].partition
        await hand.claim(place).commit(Committed(hand.got[-1].offset + 1), [])
        await slow.claim(place).commit(Committed(slow.got[3].offset), [])

        assert await log.trim({names.first: timedelta(days=1)}) == 0
        assert set((await log.starts([names.first])).values()) == {0}
        dropped = await log.trim({names.first: timedelta(0)})
        assert dropped == (3 if self.trims else 0)
        left = [int(r.value) async for r in log.read([names.first])]
        assert left == ([3, 4, 5] if self.trims else [*range(6)])
        kept = slow.got[3].offset if self.trims else 0
        assert (await log.starts([names.first]))[names.first, place] == kept
        for hand_ in (hand, slow):
            assert hand_.consumer is not None
            await hand_.consumer.close()

        await append(log, names.source, [Message(names.first, "k", b"6")], 7)
        heir, late = await joined(make_log(), names), await joined(log, other)
        await until(lambda: len(heir.got) == 1 and len(late.got) == 4, heir, late)
        assert [int(r.value) for r in heir.got] == [6]
        assert [int(r.value) for r in late.got] == [3, 4, 5, 6]
        assert await log.lag(other.group, [names.first]) >= 4

    # -- the set-up ---------------------------------------------------------------------------

    async def test_reading_begins_where_it_is_told(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 100), 100)
        later = [r async for r in log.read([names.first])][-1].appended + timedelta(days=1)
        whole = by_place([r async for r in log.read([names.first])])
        (first, there), (second, here), *others = whole.items()
        start = {first: there[4].offset, second: here[-1].offset + 1}
        found = by_place([r async for r in log.read([names.first], start=start)])
        assert found == {first: there[4:], **dict(others)}
        # A place that is named is read from there, whatever the time the others begin at.
        assert by_place([r async for r in log.read([names.first], later, start=start)]) == {
            first: there[4:]
        }

    async def test_following_begins_where_it_is_told(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 20), 20)
        ends = await log.ends([names.first])
        seen: list[Record] = []

        async def follow() -> None:
            async for record in log.read([names.first], follow=True, start=ends):
                seen.append(record)

        task = asyncio.create_task(follow())
        await append(log, names.source, messages(names.first, 5), 25)
        await until(lambda: len(seen) == 5 or task.done())
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert sorted(int(r.value) for r in seen) == [0, 1, 2, 3, 4]

    async def test_ends_are_behind_the_last_record(self, log: Log, names: Names) -> None:
        empty = await log.ends([names.first, names.second])
        assert empty == {
            (topic, n): 0 for topic in (names.first, names.second) for n in range(PARTITIONS)
        }
        await append(log, names.source, messages(names.first, 100), 100)
        found = by_place([r async for r in log.read([names.first])])
        lasts = {place: records[-1].offset for place, records in found.items()}
        ends = await log.ends([names.first])
        assert set(lasts) == set(ends)
        assert all(ends[place] > last for place, last in lasts.items())
        assert [r async for r in log.read([names.first], start=ends)] == []
        with pytest.raises(Misconfigured):
            await log.ends([unique("missing")])

    async def test_ends_up_to_a_time_are_where_reading_up_to_it_ends(
        self, log: Log, names: Names
    ) -> None:
        await append(log, names.source, messages(names.first, 40), 40)
        split = datetime.now(UTC) + timedelta(milliseconds=5)
        await until(lambda: datetime.now(UTC) > split)
        await append(log, names.source, messages(names.first, 40), 80)
        early = by_place([r async for r in log.read([names.first], until=split)])
        ends = await log.ends([names.first], split)
        rest = by_place([r async for r in log.read([names.first], start=ends)])
        assert sum(map(len, early.values())) == sum(map(len, rest.values())) == 40
        assert early.keys() == rest.keys() == ends.keys()
        past = await log.ends([names.first], split - timedelta(days=1))
        assert past == await log.starts([names.first])

    async def test_lag_counts_what_the_group_has_not_answered(self, log: Log, names: Names) -> None:
        assert await log.lag(names.group, [names.first]) == 0
        await append(log, names.source, messages(names.first, 50), 1)
        assert await log.lag(names.group, [names.first]) >= 50
        hand = Hand(answer_to=names.second)
        await join(log, names, hand)
        await until(lambda: len(hand.got) == 50, hand)
        assert await log.lag(names.group, [names.first]) <= self.trailing * PARTITIONS

    @pytest.mark.parametrize("count", [20, 200])
    async def test_lag_leaves_out_what_is_answered_beyond_a_record_that_waits(
        self, log: Log, names: Names, count: int
    ) -> None:
        """One may wait for days: all that came after it would count, and close the doors."""
        await append(log, names.source, [Message(names.first, "k", b"0")] * count, 1)
        hand = await joined(log, names)
        await until(lambda: len(hand.got) == count, hand)
        waits, *others = [record.offset for record in hand.got]
        note = Note(ceiling=others[-1] + 1, finished=frozenset(others)).write(waits)
        await hand.claim(hand.got[0].partition).commit(Committed(waits, note), [])
        assert await log.lag(names.group, [names.first]) in (1, 2), "it, and a commit marker"

    @pytest.mark.usefixtures("log")
    async def test_what_was_not_set_up_is_refused(
        self, make_log: Callable[..., Log], names: Names
    ) -> None:
        missing, log = unique("missing"), make_log(first_offset=1.0)  # it will never come
        with pytest.raises(Misconfigured):
            await joined(log, names, group=missing)
        with pytest.raises(Misconfigured):
            await log.join(names.group, [missing], Hand())
        with pytest.raises(Misconfigured):
            async with log.source(missing):
                pass
        with pytest.raises(Misconfigured):
            await append(log, names.source, [Message(missing, "k", b"")], 1)
        with pytest.raises(Misconfigured):
            await log.lag(missing, [names.first])
        with pytest.raises(Misconfigured):
            [r async for r in log.read([missing])]

    async def test_apply_again_changes_nothing_that_is_there(self, log: Log, names: Names) -> None:
        await append(log, names.source, messages(names.first, 20), 20)
        hand = Hand(answer_to=names.second)
        await join(log, names, hand)
        await until(lambda: len(hand.got) == 20, hand)
        assert hand.consumer is not None
        await hand.consumer.close()
        await log.apply(
            {names.first: PARTITIONS - 1, names.second: PARTITIONS},
            {names.group: [names.first]},
            [names.source],
        )
        async with log.source(names.source) as source:
            assert source.position == 20
        heir = await joined(log, names)
        await until(lambda: shared(heir), heir)
        assert sum(claim.committed.metadata == "done" for claim in heir.claims) > 1

    async def test_added_partitions_are_taken_up(self, log: Log, names: Names) -> None:
        hand = await joined(log, names)
        await until(lambda: shared(hand), hand)
        await log.apply({names.first: PARTITIONS + 2}, {names.group: [names.first]}, [])
        await until(lambda: len(hand.partitions) == PARTITIONS + 2, hand)
        added = messages(names.first, 200, keys=100)
        await append(log, names.source, added, 1)
        await until(lambda: len(hand.got) == 200, hand)
        assert {r.partition for r in hand.got} == set(range(PARTITIONS + 2))

    async def test_check_passes_while_the_log_answers(self, log: Log) -> None:
        await log.check()

    # -- processes ----------------------------------------------------------------------------

    async def test_processes_killed_at_random_answer_each_record_once_and_in_order(
        self, spec: str, log: Log, names: Names
    ) -> None:
        count, chance = 600, random.Random(7)
        done = Follower(log, names.second)
        async with workers(spec, names, 3) as team, done:
            for n in range(0, count, 20):
                part = [Message(names.first, f"k{i % 17}", b"%d" % i) for i in range(n, n + 20)]
                await append(log, names.source, part, n + 20)
                if n % 200 == 180:
                    await done.reaches(n // 2)
                    await team.kill_one(chance)
            await done.reaches(count)
        assert Counter(int(r.value) for r in done.got) == Counter(range(count))
        for numbers in by_key(done.got).values():
            assert numbers == sorted(numbers)

    async def test_a_process_that_was_stopped_is_fenced_when_it_comes_back(
        self, spec: str, log: Log, names: Names
    ) -> None:
        done = Follower(log, names.second)
        async with workers(spec, names, 1) as team, done:
            await append(log, names.source, messages(names.first, 100), 1)
            await done.reaches(100)
            zombie = team.processes[0]
            zombie.send_signal(signal.SIGSTOP)
            hand = Hand(answer_to=names.second)
            await join(log, names, hand)
            await until(lambda: shared(hand), hand)  # it was taken for dead
            await append(log, names.source, messages(names.first, 100), 2)
            await until(lambda: len(done.got) == 200, hand)
            zombie.send_signal(signal.SIGCONT)
            await append(log, names.source, messages(names.first, 100), 3)
            await until(lambda: len(done.got) >= 300 and len(hand.partitions) == 2, hand)
            assert hand.consumer is not None
            await hand.consumer.close()
        assert Counter(int(r.value) for r in done.got) == Counter([*range(100)] * 3)


# -- helpers that need a log --------------------------------------------------------------------


async def append(log: Log, source: str, sent: Sequence[Message], position: int) -> None:
    async with log.source(source) as feeder:
        await feeder.append(sent, position)


async def join(log: Log, names: Names, hand: Hand, group: str | None = None) -> None:
    hand.consumer = await log.join(group or names.group, [names.first], hand)


async def joined(log: Log, names: Names, group: str | None = None) -> Hand:
    hand = Hand()
    await join(log, names, hand, group)
    return hand


class Follower:
    """Collects a topic while the block runs."""

    def __init__(self, log: Log, topic: str) -> None:
        self.got: list[Record] = []
        self._log, self._topic = log, topic

    async def __aenter__(self) -> "Follower":
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def reaches(self, count: int) -> None:
        await until(lambda: len(self.got) >= count or self._task.done())

    async def _follow(self) -> None:
        async for record in self._log.read([self._topic], follow=True):
            self.got.append(record)


class Team:
    """Processes that echo the first topic into the second."""

    def __init__(self, spec: str, names: Names) -> None:
        self.processes: list[asyncio.subprocess.Process] = []
        self._command = ["-m", "tests.relay.log_worker", spec]
        self._command += [names.group, names.first, names.second]

    async def start_one(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._command, stdout=asyncio.subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"joined\n"

    async def kill_one(self, chance: random.Random) -> None:
        """SIGKILL one at random, and start another in its place."""
        process = self.processes.pop(chance.randrange(len(self.processes)))
        process.kill()
        await process.wait()
        await self.start_one()


@asynccontextmanager
async def workers(spec: str, names: Names, count: int) -> AsyncIterator[Team]:
    team = Team(spec, names)
    try:
        await asyncio.gather(*(team.start_one() for _ in range(count)))
        yield team
    finally:
        for process in team.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        codes = [await process.wait() for process in team.processes]
        assert codes == [0] * len(codes), f"a worker of {os.getpid()} ended badly: {codes}"
