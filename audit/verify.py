"""Whether a bundle is what was exported: offline, from its own bytes and a key that is trusted.

Knows every way in which evidence may lie: altered, cut short, exchanged, signed by another. Names
the record where it can. Refuses to ask any server, database or key store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from audit.bundle import (
    FORMAT,
    KEYS_NAME,
    MANIFEST_NAME,
    OBJECTS_NAME,
    PUBLISHED_NAME,
    SIGNATURE_NAME,
    UNLISTED,
    Damaged,
    Member,
    digest_of,
    index_name,
    lines,
    members,
    read,
    records_name,
    root_name,
)
from audit.lines import HOUR, Named, named_in
from audit.merkle import START, Tree, leaf, link
from audit.roots import Root, read_root
from audit.signing import MANIFEST, ROOT, Link, links_in, successors, verified
from schemas.envelope import format_time, parse_time

MOST = 100
"""Findings are told up to here; the first is what matters."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was exported. `what` is a code, `where` a record or a member."""

    what: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.where}" + (f" ({self.detail})" if self.detail else "")


@dataclass(slots=True)
class Report:
    """What was found. `trusted` is None where nobody said which key to trust."""

    findings: list[Finding] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    records: int = 0
    key: str | None = None
    trusted: bool | None = None

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the bundle."""
        return not self.findings

    def add(self, what: str, where: str, detail: str = "") -> None:
        """One more finding."""
        if len(self.findings) < MOST:
            self.findings.append(Finding(what, where, detail))


def verify(path: Path, trusted: str | None = None) -> Report:
    """The report on the bundle in `path`; `trusted` is a public key in hex, the signer's or an
    earlier one of the site."""
    report, found = Report(), dict[str, Member]()
    try:
        for member in members(path):
            if member.name in found:
                report.add("member added", member.name, "it stands there twice")
            found[member.name] = member
    except Damaged as why:
        report.add("truncated or damaged", path.name, str(why))
    facts = _manifest(path, found, report, trusted)
    if facts is not None:
        _Check(path, found, report, facts).run()
    return report


def _manifest(
    path: Path, found: Mapping[str, Member], report: Report, trusted: str | None
) -> Mapping[str, Any] | None:
    """What the manifest says, and whether the right key signed it; None where there is none."""
    lacking = [n for n in (KEYS_NAME, MANIFEST_NAME, SIGNATURE_NAME) if n not in found]
    for name in lacking:
        report.add("member missing", name, "the bundle is cut short")
    if lacking:
        return None
    data = read(path, found[MANIFEST_NAME])
    try:
        facts = dict(from_json(data))
        signature = from_json(read(path, found[SIGNATURE_NAME]))
        report.key, signed = str(signature["key"]), str(signature["signature"])
    except (ValueError, TypeError, KeyError):
        report.add("manifest altered", MANIFEST_NAME, "it or its signature is no JSON of ours")
        return None
    if facts.get("format") != FORMAT:
        report.add("format unknown", MANIFEST_NAME, f"this verifies {FORMAT}")
        return None
    if not verified(report.key, MANIFEST, data, signed):
        report.add("manifest signature", MANIFEST_NAME, "it was not signed so by that key")
    _trust(report, trusted, _links(path, found, report))
    return facts


def _links(path: Path, found: Mapping[str, Member], report: Report) -> Sequence[Link]:
    try:
        links = links_in(from_json(read(path, found[KEYS_NAME]))["links"])
    except (ValueError, TypeError, KeyError):
        report.add("keys altered", KEYS_NAME, "it does not list keys")
        return ()
    for each in links:
        if not each.holds:
            report.add("key not vouched for", each.new, f"it is said to follow {each.old}")
    return links


def _trust(report: Report, trusted: str | None, links: Sequence[Link]) -> None:
    if trusted is None:
        return
    report.trusted = report.key in successors(trusted, links)
    if not report.trusted:
        report.add("signed by another key", str(report.key), f"no successor of {trusted}")


class _Check:
    """One look through the members that a manifest lists."""

    def __init__(
        self, path: Path, found: Mapping[str, Member], report: Report, facts: Mapping[str, Any]
    ) -> None:
        self._path, self._found, self._report, self._facts = path, found, report, facts
        self._altered = set[str]()

    def run(self) -> None:
        """Members first, then what is in them."""
        try:
            self._members()
            chain = START
            for n, each in enumerate(self._facts["hours"]):
                chain = self._hour(n, each, chain)
            if chain.hex() != self._facts["chain"] and self._report.good:
                self._report.add(
                    "chain broken", MANIFEST_NAME, "the records do not lead to its end"
                )
            self._published()
            self._objects()
        except (ValueError, TypeError, KeyError) as wrong:
            self._report.add("manifest altered", MANIFEST_NAME, f"{type(wrong).__name__} in it")

    def _members(self) -> None:
        listed = {name: (size, digest) for name, size, digest in self._facts["files"]}
        for name, (size, digest) in listed.items():
            if name not in self._found:
                self._report.add("member missing", name)
            elif self._found[name].size != size or self._digest(name) != digest:
                self._altered.add(name)
        for name in self._found.keys() - listed.keys() - UNLISTED:
            self._report.add("member added", name)

    def _digest(self, name: str) -> str:
        return digest_of(self._path, self._found[name])

    # -- one hour -----------------------------------------------------------------------------

    def _hour(self, n: int, facts: Mapping[str, Any], chain: bytes) -> bytes:
        """Check an hour against its root; the chain, so much longer."""
        hour = parse_time(facts["hour"])
        if n and hour != parse_time(self._facts["hours"][n - 1]["hour"]) + HOUR:
            self._report.add("hour missing", f"before {facts['hour']}")
        names = records_name(hour), index_name(hour), root_name(hour)
        if any(name not in self._found for name in names):
            return bytes.fromhex(facts["chain"])
        tree = Tree()
        found = list(self._compare(names[0], names[1], tree))
        root = self._root(names[2], facts, hour_is=facts["hour"])
        same = None if root is None else root.root == tree.root.hex()
        self._records(names[0], found, same)
        if names[1] in self._altered:
            self._report.add("index altered", names[1])
        self._report.records += tree.size
        for leaf_ in self._leaves(names[0]):
            chain = link(chain, leaf_)
        if chain.hex() != facts["chain"] and self._report.good:
            self._report.add("chain broken", names[0])
        return bytes.fromhex(facts["chain"])

    def _records(self, name: str, found: Sequence[Finding], same: bool | None) -> None:
        """Blame the records unless they make the signed root; None where none can be believed."""
        if not same:
            self._report.findings += found[: MOST - len(self._report.findings)]
        if name in self._altered and (same or not found):
            self._report.add("records altered", name, "" if same else "which one cannot be told")
        elif same is False and not found:
            self._report.add("root differs", name, "its records make another root")

    def _compare(self, records: str, index: str, tree: Tree) -> Iterator[Finding]:
        """Records against the index of their hashes, both ordered by place."""
        wanted = self._entries(index)
        entry = next(wanted, None)
        for line in lines(self._path, self._found[records]):
            leaf_ = leaf(line)
            tree.add(leaf_)
            name = named_in(line)
            while entry and name and entry[1].place < name.place and entry[0] != leaf_:
                yield Finding("record missing", str(entry[1]))
                entry = next(wanted, None)
            if entry is None or (name and name.place < entry[1].place and entry[0] != leaf_):
                yield Finding("record added", str(name or f"a line in {records}"))
                continue
            if entry[0] != leaf_:
                yield Finding("record altered", str(entry[1]))
            entry = next(wanted, None)
        while entry is not None:
            yield Finding("record missing", str(entry[1]))
            entry = next(wanted, None)

    def _entries(self, index: str) -> Iterator[tuple[bytes, Named]]:
        for line in lines(self._path, self._found[index]):
            try:
                digest, topic, partition, offset, id_ = from_json(line)
                yield bytes.fromhex(digest), Named((str(topic), int(partition), int(offset)), id_)
            except (ValueError, TypeError):
                return  # told as an altered member

    def _leaves(self, records: str) -> Iterator[bytes]:
        return (leaf(line) for line in lines(self._path, self._found[records]))

    def _root(self, name: str, facts: Mapping[str, Any], *, hour_is: str) -> Root | None:
        """The hour's root as it was signed; None where it cannot be believed."""
        try:
            said = from_json(read(self._path, self._found[name]))
            root = read_root(said["statement"])
            statement = str(said["statement"]).encode()
            good = said["key"] == self._report.key and verified(
                said["key"], ROOT, statement, said["signature"]
            )
        except (ValueError, TypeError, KeyError):
            self._report.add("root altered", name)
            return None
        if not good:
            self._report.add("root signature", name, "it was not signed so by the bundle's key")
            return None
        if format_time(root.hour) != hour_is:
            self._report.add("hours exchanged", name, f"it is about {format_time(root.hour)}")
            return None
        if name in self._altered or root.root != facts["root"]:
            self._report.add("root altered", name)
        self._report.roots.append(root)
        return root

    def _published(self) -> None:
        """What the log said of an hour when it closed has to be what the bundle says."""
        if PUBLISHED_NAME not in self._found or PUBLISHED_NAME in self._altered:
            return
        roots = {root.hour: root.statement for root in self._report.roots}
        for line in lines(self._path, self._found[PUBLISHED_NAME]):
            said = from_json(line)
            statement, hour = str(said["statement"]), read_root(said["statement"]).hour
            if not verified(said["key"], ROOT, statement.encode(), said["signature"]):
                self._report.add("published root altered", format_time(hour))
            elif roots.get(hour, statement) != statement:
                self._report.add("not as published", format_time(hour), statement)

    # -- the rest -----------------------------------------------------------------------------

    def _objects(self) -> None:
        for name in sorted(self._altered):
            if name.startswith("objects/"):
                self._report.add("object altered", name)
            elif name in (KEYS_NAME, OBJECTS_NAME) or not name.startswith("hours/"):
                self._report.add("member altered", name)
        if OBJECTS_NAME not in self._found or OBJECTS_NAME in self._altered:
            return
        for line in lines(self._path, self._found[OBJECTS_NAME]):
            said = from_json(line)
            if said["said"] and said["sha256"] and said["said"] != said["sha256"]:
                self._report.add("object not as its event says", said["key"])
