"""What is certified of an erasure: words that are signed, and the list they stand for.

Pure. Knows what is said and how it is checked by whoever has the public key, the words and the
list. Says nothing of the person but the random id that their events bear.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.merkle import Tree, leaf
from audit.signing import ERASURE, Signer, verified
from schemas.envelope import format_time


@dataclass(frozen=True, slots=True)
class Destroyed:
    """An object that lay under the person's name."""

    key: str
    sha256: str
    size: int

    @property
    def kind(self) -> str:
        """The first part of its key."""
        return self.key.split("/")[0]


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to certify. `by` is the person who asked for it; `master` wrapped the key.

    `under_way` counts jobs that had not ended yet: each ends as erased when its stage comes to it.
    """

    site: str
    person: UUID
    destroyed: datetime
    certified: datetime
    by: UUID
    master: str | None
    jobs: int
    under_way: int
    objects: Sequence[Destroyed]


def certify(facts: Facts, signer: Signer) -> dict[str, Any]:
    """The certificate as one JSON document."""
    statement = json.dumps(_said(facts), separators=(",", ":"))
    return {
        "statement": statement,
        "key": signer.public,
        "signature": signer.sign(ERASURE, statement.encode()),
        "objects": [[each.key, each.sha256, each.size] for each in _sorted(facts.objects)],
    }


def faults(document: Mapping[str, Any], trusted: str | None = None) -> Iterator[str]:
    """What is wrong with a certificate, by itself and by the public key `trusted`."""
    try:
        statement, key = str(document["statement"]), str(document["key"])
        said = json.loads(statement)
        objects = [Destroyed(*each) for each in document["objects"]]
        listed = (len(objects), _root(objects))
        claimed = (said["objects"], said["root"])
    except (KeyError, TypeError, ValueError):
        yield "it is no certificate of an erasure"
        return
    if not verified(key, ERASURE, statement.encode(), str(document.get("signature"))):
        yield "its words are not what was signed"
    if listed != claimed:
        yield "its list is not the one that was signed"
    if trusted is not None and key != trusted:
        yield "another key signed it"


def _said(facts: Facts) -> dict[str, Any]:
    return {
        "site": facts.site,
        "person": str(facts.person),
        "destroyed": format_time(facts.destroyed),
        "certified": format_time(facts.certified),
        "by": str(facts.by),
        "master": facts.master,
        "jobs": facts.jobs,
        "under_way": facts.under_way,
        "objects": len(facts.objects),
        "bytes": sum(each.size for each in facts.objects),
        "kinds": dict(sorted(Counter(each.kind for each in facts.objects).items())),
        "root": _root(facts.objects),
    }


def _root(objects: Sequence[Destroyed]) -> str:
    tree = Tree()
    for each in _sorted(objects):
        tree.add(leaf(f"{each.key} {each.sha256} {each.size}".encode()))
    return tree.root.hex()


def _sorted(objects: Sequence[Destroyed]) -> Sequence[Destroyed]:
    return sorted(objects, key=lambda each: each.key)
