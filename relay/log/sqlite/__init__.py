"""The embedded log: one SQLite file, partitions held by leases, one writer per process.

Knows the `Log` port and SQLite. Refuses to know events and stages, and network disks: SQLite's
locks and its shared memory need a local one.
"""

from relay.log.sqlite.log import SqliteLog

__all__ = ["SqliteLog"]
