"""PATCH by POST: for clients whose HTTP has no PATCH, such as a mini-program's.

Knows the header that says so. Refuses to know what is changed.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from ingest.problems import Problem


def _patched(method: Annotated[str, Header(alias="X-HTTP-Method-Override")] = "") -> None:
    if method.upper() != "PATCH":
        raise Problem("method_not_allowed")


ByPost = Annotated[None, Depends(_patched)]
"""What a door takes that is open to POST only in the place of PATCH."""
