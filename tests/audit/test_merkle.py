"""Trees and chains against RFC 6962's own vectors and definition."""

from __future__ import annotations

from hashlib import sha256

import pytest

from audit.merkle import START, Tree, leaf, link, node

# The leaves and roots of the test vectors that implementations of RFC 6962 share.
LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node(by_definition(leaves[:k]), by_definition(leaves[k:]))


@pytest.mark.parametrize(("size", "root"), ROOTS.items())
def test_the_shared_vectors(size: int, root: str) -> None:
    tree = Tree()
    for data in LEAVES[:size]:
        tree.add(leaf(bytes.fromhex(data)))
    assert (tree.size, tree.root.hex()) == (size, root)


def test_a_tree_of_any_size_is_that_of_the_definition() -> None:
    tree, leaves = Tree(), list[bytes]()
    for n in range(70):
        assert tree.root == by_definition(leaves)
        leaves.append(leaf(b"%d" % n))
        tree.add(leaves[-1])


def test_leaf_node_and_link_are_told_apart() -> None:
    left, right = leaf(b"a"), leaf(b"b")
    assert len({node(left, right), link(left, right), leaf(left + right)}) == 3
    assert link(link(START, left), right) != link(link(START, right), left)
