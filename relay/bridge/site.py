"""What an edge is called, and the names of the positions that follow from it.

Knows that a site's name is one machine's for good: positions belong to it. Refuses to make any.
"""

from __future__ import annotations

import re

from relay.errors import Misconfigured
from relay.log.port import Place

_SITE = re.compile(r"voxrelay://([a-z0-9][a-z0-9-]{0,62})")
_NOBODYS = "local"


def name_of(site: str) -> str:
    """The name in `voxrelay://name`; `Misconfigured` where it can be no edge's."""
    found = _SITE.fullmatch(site)
    if found is None or found[1] == _NOBODYS:
        raise Misconfigured(
            f"VOXRELAY_SITE={site} names no edge: give it a name of its own, `voxrelay://shop-1` "
            "(lower-case letters, digits, hyphens), the one that `voxrelay edge admit` was told"
        )
    return found[1]


def up_source(name: str, partition: int) -> str:
    """The cluster's source that carries on from a partition of the edge's."""
    return f"edge.{name}.{partition}"


def down_source(place: Place) -> str:
    """The edge's source that carries on from a partition of the cluster's."""
    return f"bridge.{place[0]}.{place[1]}"
