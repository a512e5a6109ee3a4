"""What a caller may do: scopes, and the roles that are bundles of them.

Knows names alone. Refuses to know doors (each asks for a scope), tokens and rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """One thing that a door may ask for."""

    SEND = "jobs:send"
    READ = "jobs:read"
    """One's own jobs, never another's."""
    HOOKS = "webhooks"
    VOICES = "voices"
    """One's own, and those shared with one."""
    KEYS_READ = "keys:read"
    KEYS = "keys:write"


class Role(StrEnum):
    """Who somebody is to the relay."""

    USER = "user"
    OPERATOR = "operator"
    AUDITOR = "auditor"


_USER = frozenset({Scope.SEND, Scope.READ, Scope.HOOKS, Scope.VOICES})

SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.USER: _USER,
    Role.OPERATOR: _USER | {Scope.KEYS_READ, Scope.KEYS},
    Role.AUDITOR: frozenset({Scope.READ, Scope.KEYS_READ}),
}
"""The most that a role may do. A key may have less."""

ANONYMOUS = frozenset({Scope.SEND, Scope.READ})
"""What a caller without a token may do, where the operator lets any in."""

LOCAL = ANONYMOUS | {Scope.VOICES}
"""The same, where they are on this machine: an address elsewhere may be that of several."""
