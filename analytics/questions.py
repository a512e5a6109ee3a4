"""Questions in SQL, answered by DuckDB: over an export, or over what a log holds now.

Knows the views that may be asked. Refuses everything else: a question reads no other file, writes
none and reaches no network. There is no personal field to ask for.

    events   one row an event, as `analytics.columns` says
    jobs     one row a job: what was asked for, when it came to each state, and how it ended
    rules    one row for each rule that fired in a verdict
    funnel   jobs accepted, approved, delivered, played and rated, by day, style, kind of style and
             code version
    styles   names of the preset styles, and what each changes (a dialect, an emotion, …)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from analytics.columns import SCHEMA, table
from relay.errors import RelayError
from relay.log.port import Record

_CHUNK = 10_000
_STYLES = pa.schema([(name, pa.string()) for name in ("name", "id", "kind")])

Style = tuple[str, str, str]
"""A name that a user may have given, the style's id, and its kind."""


class NotAnswered(RelayError):
    """The question is wrong; the message says where."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns' names and the rows."""

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]


async def gathered(records: AsyncIterator[Record]) -> pa.Table:
    """`records` as one table, in memory."""
    parts: list[pa.Table] = []
    chunk: list[Record] = []
    async for record in records:
        chunk.append(record)
        if len(chunk) == _CHUNK:
            parts.append(table(chunk))
            chunk = []
    return pa.concat_tables([*parts, table(chunk)])


def ask(question: str, source: pa.Table | Sequence[str], styles: Sequence[Style]) -> Answer:
    """What `question` comes to over a table of events, or over the files of an export."""
    with _opened(source, styles) as line:
        try:
            found = line.execute(question)
            columns = [name for name, *_ in found.description or ()]
            return Answer(columns, found.fetchall())
        except duckdb.Error as wrong:
            raise NotAnswered(str(wrong)) from None


@contextmanager
def _opened(
    source: pa.Table | Sequence[str], styles: Sequence[Style]
) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as line:
        line.execute("set TimeZone = 'UTC'")
        if isinstance(source, pa.Table):
            line.register("source", source)
            line.execute("create view events as from source")
        else:
            names = ", ".join(_quoted(name) for name in source)
            line.register("nothing", SCHEMA.empty_table())
            line.execute(f"create view events as {_FILES.format(names=names)}")
            line.execute(f"set allowed_paths = [{names}]")
        named = [dict(zip(_STYLES.names, style, strict=True)) for style in styles]
        line.register("styles", pa.Table.from_pylist(named, schema=_STYLES))
        line.execute(_VIEWS)
        line.execute("set enable_external_access = false")
        line.execute("set lock_configuration = true")
        yield line


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


_FILES = """
    from read_parquet([{names}], hive_partitioning = false, union_by_name = true)
    union all by name from nothing
"""
"""Files may be older than the latest columns."""

_VIEWS = """
create view jobs as
with told as (
    select
        job,
        any_value(person) as person,
        any_value(source) as source,
        min(accepted_at) as accepted_at,
        any_value(style) as asked_style,
        any_value(mode) as mode,
        any_value(door) as door,
        any_value(format) as format,
        any_value(language) as language,
        any_value(policy) as policy,
        any_value(code_version) as code_version,
        any_value(engine) as engine,
        any_value(voice) as voice,
        any_value(voice_version) as voice_version,
        any_value(cached) as cached,
        any_value(cloned) as cloned,
        any_value(stage) as failed_in,
        any_value(code) as failed_code,
        min(seconds) filter (topic = 'prompt-uploaded') as recorded_seconds,
        min(seconds) filter (topic = 'speech-delivered') as delivered_seconds,
        min(appended_at) filter (topic = 'prompt-uploaded') as uploaded_at,
        min(appended_at) filter (topic = 'prompt-held') as held_at,
        min(appended_at) filter (topic = 'prompt-reviewed') as reviewed_at,
        min(appended_at) filter (topic = 'prompt-approved') as approved_at,
        min(appended_at) filter (topic = 'prompt-rejected') as rejected_at,
        min(appended_at) filter (topic = 'speech-synthesized') as synthesized_at,
        min(appended_at) filter (topic = 'speech-delivered') as delivered_at,
        min(appended_at) filter (topic = 'job-failed') as failed_at,
        min(appended_at) filter (topic = 'speech-played') as played_at,
        min(appended_at) filter (topic = 'speech-rated') as rated_at,
        min(appended_at) filter (topic = 'speech-reported') as reported_at,
        min(appended_at) filter (topic = 'prompt-appealed') as appealed_at,
        any_value(stars) as stars
    from events where job is not null group by job
)
select
    told.*,
    coalesce(styles.id, told.asked_style) as style,
    styles.kind as style_kind,
    epoch(coalesce(held_at, approved_at, rejected_at)) - epoch(uploaded_at) as moderation_seconds,
    epoch(synthesized_at) - epoch(approved_at) as synth_seconds,
    epoch(delivered_at) - epoch(synthesized_at) as delivery_seconds,
    case when delivered_at is not null then 'delivered' when rejected_at is not null then 'rejected'
         when failed_at is not null then 'failed' end as ended_as
from told left join styles on styles.name = lower(told.asked_style);

create view rules as
select job, accepted_at, state as verdict, policy, code_version, unnest(rules) as rule
from events where rules is not null;

create view funnel as
select
    cast(accepted_at as date) as day, style, style_kind, code_version,
    count(*) as accepted, count(approved_at) as approved, count(rejected_at) as rejected,
    count(delivered_at) as delivered, count(played_at) as played, count(rated_at) as rated
from jobs group by all;
"""
