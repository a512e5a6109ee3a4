"""Hashes of records: leaves and trees as RFC 6962 has them, and a chain through all of them.

Pure. Leaf, node and link are told apart by their first byte, so none can be taken for another. A
tree keeps one hash per level, however many leaves it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

START = bytes(32)
"""What a chain begins with."""


def leaf(data: bytes) -> bytes:
    """The hash of one record."""
    return sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\1" + left + right).digest()


def link(chain: bytes, leaf_: bytes) -> bytes:
    """The chain, one record longer."""
    return sha256(b"\2" + chain + leaf_).digest()


class Tree:
    """Leaves in order; `root` at any time. That of no leaves is the hash of nothing."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of perfect subtrees, the largest first

    def add(self, leaf_: bytes) -> None:
        """One more leaf at the end."""
        self.size += 1
        self._peaks.append(leaf_)
        merges = self.size
        while merges % 2 == 0:
            right, left = self._peaks.pop(), self._peaks.pop()
            self._peaks.append(node(left, right))
            merges //= 2

    def extend(self, records: Iterable[bytes]) -> None:
        """Records as further leaves."""
        for data in records:
            self.add(leaf(data))

    @property
    def root(self) -> bytes:
        if not self._peaks:
            return sha256(b"").digest()
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node(peak, found)
        return found
