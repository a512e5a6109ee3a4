"""Keys: kept from others' eyes, followed by their successors, and good for one purpose each."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit import signing
from audit.signing import (
    MANIFEST,
    ROOT,
    links_in,
    load_signer,
    rotate,
    successors,
    told,
    verified,
)
from relay.errors import Misconfigured

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "audit.key"
    load_signer(path, make=True)
    return path


def test_of_several_first_starts_one_makes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.key"
    makes = signing._make
    others = list[str]()

    def late(at: Path) -> None:
        """Another process finds no key, either, and makes one before us."""
        monkeypatch.setattr(signing, "_make", makes)
        others.append(load_signer(at, make=True).public)
        makes(at)

    monkeypatch.setattr(signing, "_make", late)
    assert [load_signer(path, make=True).public] == others == [load_signer(path).public]
    assert [each.name for each in tmp_path.iterdir()] == ["audit.key"]


def test_a_signature_is_good_for_its_key_its_purpose_and_its_data_alone(file: Path) -> None:
    signer = load_signer(file)
    signature = signer.sign(ROOT, b"x")
    assert verified(signer.public, ROOT, b"x", signature)
    assert not verified(signer.public, MANIFEST, b"x", signature)
    assert not verified(signer.public, ROOT, b"y", signature)
    assert not verified("00" * 32, ROOT, b"x", signature)
    assert not verified("no key", ROOT, b"x", signature)
    assert not verified(signer.public, ROOT, b"x", "no signature")
    assert signature == load_signer(file).sign(ROOT, b"x")


def test_whoever_trusts_an_old_key_finds_its_successors(file: Path) -> None:
    keys = [load_signer(file).public, *(rotate(file, NOW).public for _ in range(2))]
    signer = load_signer(file)
    assert signer.public == keys[2]
    assert len(set(keys)) == 3
    links = links_in(json.loads(json.dumps(told(signer)))["links"])
    assert successors(keys[0], links) == set(keys)
    assert successors(keys[1], links) == set(keys[1:])
    assert successors(keys[2], links) == {keys[2]}


def test_a_link_that_was_changed_leads_nowhere(file: Path) -> None:
    first = load_signer(file).public
    (link,) = rotate(file, NOW).links
    assert link.holds
    for wrong in (
        replace(link, at="2026-03-02T00:00:00.000000Z"),
        replace(link, new="11" * 32),
        replace(link, by_old=link.by_new),
        replace(link, by_new=link.by_old),
    ):
        assert not wrong.holds
        assert successors(first, [wrong]) == {first}


def test_the_file_holds_the_secret_for_us_alone_and_what_is_told_does_not(file: Path) -> None:
    assert file.stat().st_mode & 0o077 == 0
    assert "PRIVATE" not in json.dumps(told(load_signer(file)))
    before = file.read_bytes()
    rotate(file, NOW)
    assert file.read_bytes() != before


def test_a_key_that_is_none_is_refused_with_the_remedy(file: Path, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="VOXRELAY_AUDIT_KEY_FILE"):
        load_signer(tmp_path / "none")
    file.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load_signer(file)
    file.chmod(0o600)
    file.write_text("hello")
    with pytest.raises(Misconfigured, match="no private key"):
        load_signer(file)
