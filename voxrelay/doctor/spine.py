"""Database, log and store: whether they answer, and whether they are set up for us.

Knows what each has to hold. Looks without making anything: no table, no topic, no bucket; of the
embedded parts nothing is opened before there is a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import httpx

from infra.topics import partitions
from relay.log.open import open_log
from relay.log.port import Log
from relay.objects.open import open_store
from relay.objects.port import ObjectStore
from relay.settings import Settings
from relay.sql.open import APP_FILE, connect
from relay.sql.schema import VERSION
from relay.sql.setup import version_of
from schemas.topics import READS
from voxrelay.doctor.address import look_at_host
from voxrelay.doctor.clock import clock_of, compared
from voxrelay.doctor.finding import Finding, absent, bad, doubtful, good

_NONE_YET = "there is none yet: `voxrelay up` makes it"
_APPLY = "Run `voxrelay topics apply`."
_SET_PUBLIC = "Set VOXRELAY_S3_PUBLIC_ENDPOINT to the store's address as phones reach it."
_PATIENCE = 5.0
_LAG = 10_000
_SIGNED = timedelta(minutes=1)
_NO_SUCH = "doctor/no/such-object"
"""A key of a kind that we never write."""


async def look_at_database(settings: Settings) -> AsyncIterator[Finding]:
    """Whether it answers, of which version its tables are, and how its clock goes."""
    if settings.sql == "sqlite" and not (settings.data / APP_FILE).exists():
        yield absent("database", _NONE_YET)
        return
    database = connect(settings)
    try:
        yield _tables(await version_of(database))
        if settings.sql != "sqlite":
            yield compared(database.now(), "the database's server")
    finally:
        await database.close()


async def look_at_log(settings: Settings) -> AsyncIterator[Finding]:
    """Whether every topic is there with its partitions, and how far behind each group is."""
    if settings.embedded and not (settings.data / "log.db").exists():
        yield absent("log", _NONE_YET)
        return
    log = open_log(settings)
    try:
        await log.check()
        yield await _topics(log, partitions(settings))
        if not settings.edge:
            yield await _groups(log)
    finally:
        await log.close()


async def look_at_objects(settings: Settings) -> AsyncIterator[Finding]:
    """Whether the bucket is there, and whether a phone could fetch from it what we sign."""
    if settings.objects == "disk" and not settings.data.exists():
        yield absent("objects", _NONE_YET)
        return
    store = open_store(settings)
    try:
        await store.check()
        yield good("objects", f"{settings.objects} answers")
        async for finding in _signed(store, settings):
            yield finding
    finally:
        await store.close()


def _tables(found: int | None) -> Finding:
    if found is None:
        return absent("database", "it answers, and has no tables yet: the first start makes them")
    if found > VERSION:
        return bad(
            "database",
            f"its tables are of version {found}, this release knows {VERSION}",
            "Run the newer release, or restore a backup made before it.",
        )
    if found < VERSION:
        says = f"its tables are of version {found}: the next start makes them {VERSION}"
        return doubtful("database", says, "Make a backup before this release starts.")
    return good("database", f"it answers; tables of version {found}")


async def _topics(log: Log, wanted: dict[str, int]) -> Finding:
    found = Counter(topic for topic, _ in await log.ends(tuple(wanted)))
    other = sorted(topic for topic, count in wanted.items() if found[topic] < count)
    if other:
        says = f"too few partitions: {', '.join(f'{topic} {found[topic]}' for topic in other)}"
        return bad("log", f"{says}; wanted are {wanted[other[0]]}", _APPLY)
    return good("log", f"it answers; {len(wanted)} topics are as they should be")


async def _groups(log: Log) -> Finding:
    lags = {group: await log.lag(group, topics) for group, topics in READS.items()}
    says = ", ".join(f"{group} {lag}" for group, lag in lags.items())
    if any(lag > _LAG for lag in lags.values()):
        do = "See that the stage runs (`/readyz`), or add processes of it."
        return doubtful("log", f"waiting records: {says}", do)
    return good("log", f"waiting records: {says}")


async def _signed(store: ObjectStore, settings: Settings) -> AsyncIterator[Finding]:
    """An address we sign, followed: a store that knows our signature says that nothing is there."""
    url = store.url(_NO_SUCH, _SIGNED, "doctor")
    if url is None:
        return
    host = urlsplit(url).hostname or ""
    for finding in await look_at_host("signed addresses", host, _SET_PUBLIC):
        yield finding
    ca_file = str(settings.s3_ca_file) if settings.s3_ca_file else True
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False, verify=ca_file) as http:
            answer = await http.get(url)
    except httpx.HTTPError as wrong:
        says = f"{host} does not answer ({type(wrong).__name__})"
        yield bad("signed addresses", says, _SET_PUBLIC)
        return
    for found in _judged(answer, host):
        yield found


def _judged(answer: httpx.Response, host: str) -> Iterator[Finding]:
    if "SignatureDoesNotMatch" in answer.text:
        do = "Let the proxy before the store pass on the Host header as it came."
        yield bad("signed addresses", f"{host} does not take our signature", do)
    elif answer.status_code in (403, 404) and answer.text.lstrip().startswith("<"):
        yield good("signed addresses", f"{host} takes them")
    else:
        says = f"{host} answers {answer.status_code}, as no store does"
        yield bad("signed addresses", says, _SET_PUBLIC)
    if clock := clock_of(answer, "the store"):
        yield clock
