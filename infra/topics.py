"""What the log is set up with, and what each process may do there.

Knows which role of the cluster reads and writes which topic: from that follow the topics, each
group's first offsets, each source's position, and the broker's ACLs. Refuses to know how a log
does it (`Log.apply`), and what the handlers do.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay

from relay.bridge import down, up
from relay.bridge.site import name_of, up_source
from relay.errors import Unavailable
from relay.log.port import Log
from relay.outbox import NAME, source_names
from relay.retry import BACKOFF
from relay.settings import Settings
from schemas.topics import (
    AFTERWARDS,
    CLUSTER_PARTITIONS,
    DEAD,
    EMBEDDED_PARTITIONS,
    LEDGER,
    POSITIONS,
    READS,
    TOPICS,
)

ALL = tuple(topic.name for topic in TOPICS)
LATER = tuple(topic.name for topic in AFTERWARDS)
BESIDE = tuple(topic.name for topic in LEDGER)


@dataclass(frozen=True, slots=True)
class Role:
    """A process with a name of its own at the broker.

    `groups` maps the consumer groups it runs to what they read; `writes` is what it answers with,
    dead letters of what it reads apart; `sources` are the positions it keeps; `looks` is what it
    reads without a group; of the groups in `watches` it may know how far they are.
    """

    name: str
    groups: Mapping[str, Sequence[str]]
    writes: Sequence[str]
    sources: Sequence[str] = ()
    looks: Sequence[str] = ()
    watches: Sequence[str] = ()

    @property
    def dead(self) -> tuple[str, ...]:
        """Dead-letter topics it may have to write; a dead letter has none of its own."""
        reads = {topic for topics in self.groups.values() for topic in topics}
        return tuple(f"{topic}-dead" for topic in ALL if topic in reads)


def roles(outbox: str = NAME) -> tuple[Role, ...]:
    """Who there is at the broker, where the outbox goes by that name."""
    view = {"view": (*ALL, *DEAD)}
    return (
        # The gateway: accepts, feeds the outbox to the log, and keeps the job view.
        # Its operator's and auditor's doors look where those two roles do.
        Role(
            "ingest",
            view,
            (*ALL, *LATER, *BESIDE),
            source_names(outbox),
            looks=(*LATER, *BESIDE),
            watches=tuple(READS),
        ),
        Role(
            "moderation",
            {"moderation": READS["moderation"]},
            ("prompt-approved", "prompt-rejected", "prompt-held", "job-failed"),
        ),
        Role("synth", {"synth": READS["synth"]}, ("speech-synthesized", "job-failed")),
        Role("delivery", {"delivery": READS["delivery"]}, ("speech-delivered", "job-failed")),
        # The auditor: reads everything, and writes through the gateway's outbox.
        Role("audit", {}, (), looks=(*ALL, *DEAD, *LATER, *BESIDE)),
        # Who counts: reads what happens to jobs, and what people make of them.
        Role("analytics", {}, (), looks=(*ALL, *LATER)),
    )


ROLES = roles()


def edge(site: str, partitions: int = EMBEDDED_PARTITIONS) -> Role:
    """The bridge of the edge `site`, whose topics have so many partitions."""
    name = name_of(site)
    return Role(
        f"edge-{name}",
        groups={},
        writes=up.TOPICS,
        sources=[up_source(name, number) for number in range(partitions)],
        looks=down.TOPICS,
    )


def partitions(settings: Settings) -> dict[str, int]:
    """Every topic and its partition count: all of a chain have the same one."""
    default = EMBEDDED_PARTITIONS if settings.embedded else CLUSTER_PARTITIONS
    count = settings.partitions or default
    return {**dict.fromkeys((*ALL, *DEAD, *LATER), count), **dict.fromkeys((*BESIDE, POSITIONS), 1)}


def groups() -> dict[str, Sequence[str]]:
    """Every consumer group and the topics it reads."""
    return {group: topics for role in ROLES for group, topics in role.groups.items()}


def sources(outbox: str = NAME) -> list[str]:
    """Every source whose position the log keeps."""
    return [source for role in roles(outbox) for source in role.sources]


async def apply(log: Log, settings: Settings, patience_s: float = 60.0) -> None:
    """Create what is missing; run it as often as you like.

    A broker that has just started cannot tell at once what groups have committed, so it is asked
    again for a while; `Unavailable` if it does not answer then.
    """
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        wait=BACKOFF,
        stop=stop_after_delay(patience_s),
        reraise=True,
    ):
        with attempt:
            await log.apply(partitions(settings), groups(), sources(settings.outbox))


def acl(bootstrap: str, principal: str = "voxrelay-{role}", outbox: str = NAME) -> list[str]:
    """Commands for Kafka's `kafka-acls.sh` that give each role what it needs and nothing else.

    `principal` is the pattern of the users' names, `outbox` begins the names of the sources.
    """
    return acl_of(roles(outbox), bootstrap, principal)


def acl_of(roles: Sequence[Role], bootstrap: str, principal: str = "voxrelay-{role}") -> list[str]:
    """The same for `roles`, such as an edge's."""
    return [
        shlex.join(["kafka-acls.sh", "--bootstrap-server", bootstrap, *words])
        for role in roles
        for words in grants(role, principal.format(role=role.name))
    ]


def grants(role: Role, user: str) -> Iterator[list[str]]:
    """What follows the server in each `kafka-acls.sh` command that lets `user` be `role`."""
    add = ["--add", "--allow-principal", f"User:{user}"]
    write = [*add, "--operation", "Write", "--operation", "Describe"]
    read = [*add, "--operation", "Read", "--operation", "Describe"]
    reads = sorted({topic for topics in role.groups.values() for topic in topics} | {*role.looks})
    positions = [POSITIONS] if role.sources else []
    positioned = [f"position.{source}" for source in role.sources]
    yield [*read, *_each("--topic", [*reads, *positions])]
    if not (role.groups or role.writes):
        return
    yield [*read, *_each("--group", [*role.groups, *positioned])]
    if role.watches:
        yield [*add, "--operation", "Describe", *_each("--group", role.watches)]
    yield [*write, *_each("--topic", [*role.writes, *role.dead])]
    # A writer for each partition of a group, `group.topic.partition`; one for each source.
    writers = [f"{group}." for group in role.groups] + [f"source.{name}" for name in role.sources]
    yield [*write, *_each("--transactional-id", writers), "--resource-pattern-type", "prefixed"]


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]
