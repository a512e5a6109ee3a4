"""A bundle proves itself; whatever is done to it is found, and named where it can be."""

from __future__ import annotations

import asyncio
import io
import json
import random
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.bundle import MANIFEST_NAME, SIGNATURE_NAME, members
from audit.export import Exported, _named, export
from audit.lines import HOUR, hour_of
from audit.roots import COVERED, closed_hours
from audit.signing import MANIFEST, Signer, load_signer, rotate
from audit.verify import Report, verify
from relay.errors import Misconfigured
from relay.spine import open_spine
from tests.audit.relay import TEXTS, Lived

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return load_signer(tmp_path_factory.mktemp("key") / "audit.key", make=True)


def taken(house: Lived, signer: Signer, target: Path, *, objects: bool = False) -> Exported:
    """The hours of the jobs, though they have not closed: nobody appends any more."""

    async def take() -> Exported:
        async with open_spine(house.settings) as spine:
            wanted = [hour_of(NOW) + n * HOUR for n in range(-1, 2)]
            return await export(spine, signer, wanted, target, objects=objects)

    return asyncio.run(take())


@pytest.fixture(scope="module")
def bundle(lived: Lived, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "whole.tar"
    taken(lived, signer, path)
    return path


async def records(house: Lived) -> list[tuple[str, int, int]]:
    """Every place that the export covers, hour by hour as it writes them."""
    async with open_spine(house.settings) as spine:
        found = [
            (f"{r.appended:%Y-%m-%dT%H}", r.topic, r.partition, r.offset)
            async for r in spine.log.read(COVERED)
        ]
    return [(topic, partition, offset) for _, topic, partition, offset in sorted(found)]


async def objects(house: Lived) -> set[str]:
    """Keys of what events name: a policy is no event's, features are the voice's own."""
    async with open_spine(house.settings) as spine:
        keys = [stat.key async for stat in spine.store.list("")]
        return {key for key in keys if key.split("/")[0] not in ("policy", "features")}


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def lines_of(files: Mapping[str, bytes]) -> tuple[str, list[bytes]]:
    """The member with the most records, and its lines."""
    name = max(
        (n for n in files if n.startswith("hours/") and n.count(".") == 1),
        key=lambda n: len(files[n]),
    )
    return name, files[name].splitlines(keepends=True)


def rewritten(path: Path, files: Mapping[str, bytes]) -> Path:
    """A bundle of these members."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    size = sum(m.size + -m.size % 512 + 512 for m in members_of(path))
    path.write_bytes(path.read_bytes()[: size + 1024])
    return path


def members_of(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return tar.getmembers()


def first(report: Report) -> tuple[str, str]:
    assert report.findings
    return report.findings[0].what, report.findings[0].where


@pytest.mark.parametrize("name", ["lived", "lived_on_kafka"])
def test_what_is_exported_is_every_record_once_and_verifies(
    name: str, request: pytest.FixtureRequest, signer: Signer, tmp_path: Path
) -> None:
    house: Lived = request.getfixturevalue(name)
    done = taken(house, signer, tmp_path / "b.tar", objects=True)
    found = contents(done.path)
    told = [
        json.loads(line)
        for n, data in found.items()
        if n.startswith("hours/") and n.count(".") == 1
        for line in data.splitlines()
    ]
    assert [(t["topic"], t["partition"], t["offset"]) for t in told] == asyncio.run(records(house))
    report = verify(done.path, signer.public)
    assert report.good, report.findings
    assert (report.records, len(report.roots)) == (done.records, 3)
    assert (report.trusted, report.key) == (True, signer.public)
    listed = [json.loads(line) for line in found["objects.jsonl"].splitlines()]
    there = {each["key"] for each in listed if each["sha256"]}
    assert there == asyncio.run(objects(house))
    assert {f"objects/{each['sha256']}" for each in listed if each["sha256"]} <= found.keys()
    assert len(listed) == done.objects > len(there), "those of the erased person are gone"


def test_nothing_that_a_person_said_lies_open_in_it(bundle: Path) -> None:
    data = bundle.read_bytes()
    for text in TEXTS.values():
        assert text.encode() not in data
        assert json.dumps(text).encode() not in data
    assert b"203.0.113" not in data


def test_the_same_hours_make_the_same_bundle(
    lived: Lived, signer: Signer, bundle: Path, tmp_path: Path
) -> None:
    again = taken(lived, signer, tmp_path / "again.tar")
    assert again.path.read_bytes() == bundle.read_bytes()
    with pytest.raises(Misconfigured, match="not overwritten"):
        taken(lived, signer, tmp_path / "again.tar")


def test_an_hour_that_has_not_closed_is_not_exported() -> None:
    noon = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    wanted = closed_hours(noon - timedelta(hours=3), None, noon)
    assert [hour.hour for hour in wanted] == [9, 10, 11]
    assert closed_hours(noon, None, noon + timedelta(minutes=30)) == []
    assert len(closed_hours(noon, None, noon + timedelta(minutes=35))) == 1
    until = closed_hours(noon, noon + timedelta(hours=2), noon + timedelta(days=1))
    assert [hour.hour for hour in until] == [12, 13, 14]


def test_any_flipped_byte_is_found(bundle: Path, signer: Signer, tmp_path: Path) -> None:
    """Of every class: heads, records, padding, index, roots, keys, manifest, signature, end."""
    whole = bundle.read_bytes()
    dice, target = random.Random(7), tmp_path / "flipped.tar"
    spots = {dice.randrange(len(whole)) for _ in range(60)}
    for member in members(bundle):
        inside = range(member.at, member.at + member.size)
        spots |= {member.at - 512 + dice.randrange(512), member.at - 365, member.at - 357}
        spots |= {dice.choice(inside) for _ in range(2) if inside}
        if -member.size % 512:
            spots.add(member.at + member.size)
    spots |= {len(whole) - 1, len(whole) - 1024}
    for spot in sorted(spots):
        data = bytearray(whole)
        data[spot] ^= 1 << dice.randrange(8)
        target.write_bytes(data)
        assert not verify(target, signer.public).good, f"byte {spot}"


def test_a_bundle_that_was_cut_is_called_so(bundle: Path, signer: Signer, tmp_path: Path) -> None:
    whole, target = bundle.read_bytes(), tmp_path / "cut.tar"
    for size in (0, 1, 512, 5000, len(whole) // 2, len(whole) - 1024, len(whole) - 1):
        target.write_bytes(whole[:size])
        assert first(verify(target, signer.public))[0] == "truncated or damaged"
    target.write_bytes(whole + bytes(512))
    assert not verify(target, signer.public).good


Change = Callable[[list[bytes]], tuple[list[bytes], str, int]]


def altered(lines: list[bytes]) -> tuple[list[bytes], str, int]:
    return (
        [*lines[:3], lines[3].replace(b'"value":"{', b'"value":"{ '), *lines[4:]],
        "record altered",
        3,
    )


def missing(lines: list[bytes]) -> tuple[list[bytes], str, int]:
    return [*lines[:3], *lines[4:]], "record missing", 3


def last_missing(lines: list[bytes]) -> tuple[list[bytes], str, int]:
    return lines[:-1], "record missing", len(lines) - 1


def added(lines: list[bytes]) -> tuple[list[bytes], str, int]:
    said = json.loads(lines[3])
    said["offset"] += 1_000
    extra = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    same = [
        n
        for n, line in enumerate(lines)
        if json.loads(line)["topic"] == said["topic"]
        and json.loads(line)["partition"] == said["partition"]
    ]
    return [*lines[: same[-1] + 1], extra, *lines[same[-1] + 1 :]], "record added", -1


def nested(lines: list[bytes]) -> tuple[list[bytes], str, int]:
    return [*lines[:3], b"[" * 100_000 + b"\n", *lines[4:]], "record altered", 3


@pytest.mark.parametrize("change", [altered, missing, last_missing, added, nested])
def test_the_first_record_that_is_not_as_it_was_is_named(
    bundle: Path, signer: Signer, tmp_path: Path, change: Change
) -> None:
    files = contents(bundle)
    name, lines = lines_of(files)
    changed, what, where = change(lines)
    assert changed != lines
    files[name] = b"".join(changed)
    report = verify(rewritten(tmp_path / "b.tar", files), signer.public)
    found, said = first(report)
    record = json.loads(lines[where] if where >= 0 else lines[3])
    id_ = dict(record["headers"])["ce_id"]
    assert found == what
    assert f"{record['topic']}, partition {record['partition']}," in said
    assert id_ in said
    if where >= 0:
        assert f"offset {record['offset']}," in said
    assert sum(f.what.startswith("record ") for f in report.findings) == 1


def test_a_dead_letter_without_end_names_no_object_and_keeps_no_hour_from_its_export() -> None:
    lines = [json.dumps({"value": value}).encode() for value in ("[" * 100_000, '{"key": "a/b/c"}')]
    assert list(_named(lines)) == [("a/b/c", None)]


def test_two_records_in_each_others_place_are_found(
    bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    files = contents(bundle)
    name, lines = lines_of(files)
    files[name] = b"".join([lines[1], lines[0], *lines[2:]])
    report = verify(rewritten(tmp_path / "b.tar", files), signer.public)
    assert first(report)[0].startswith("record ")


def test_hours_in_each_others_place_are_called_so(
    bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    files = contents(bundle)
    hours = sorted({name.split(".")[0] for name in files if name.startswith("hours/")})
    for kind in ("jsonl", "index.jsonl", "root.json"):
        one, other = f"{hours[0]}.{kind}", f"{hours[1]}.{kind}"
        files[one], files[other] = files[other], files[one]
    report = verify(rewritten(tmp_path / "b.tar", files), signer.public)
    assert "hours exchanged" in {each.what for each in report.findings}


def test_a_member_that_is_gone_or_new_is_named(
    bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    whole = contents(bundle)
    for gone in whole:
        files = {name: data for name, data in whole.items() if name != gone}
        report = verify(rewritten(tmp_path / "b.tar", files), signer.public)
        assert ("member missing", gone) in [(f.what, f.where) for f in report.findings]
    files = {"more.txt": b"x", **whole}
    assert first(verify(rewritten(tmp_path / "b.tar", files))) == ("member added", "more.txt")


def resigned(files: dict[str, bytes], by: Signer) -> dict[str, bytes]:
    """What somebody with a key of their own makes of changed members: everything fits again."""
    from dataclasses import replace
    from hashlib import sha256

    from audit.export import _signed
    from audit.merkle import START, Tree, leaf, link
    from audit.roots import read_root

    manifest = json.loads(files[MANIFEST_NAME])
    chain = START
    for hour in manifest["hours"]:
        stem = f"hours/{hour['hour'][:13]}"
        tree, index = Tree(), []
        for line in files[f"{stem}.jsonl"].splitlines():
            said, hashed = json.loads(line), leaf(line)
            tree.add(hashed)
            chain = link(chain, hashed)
            place = [said["topic"], said["partition"], said["offset"]]
            index.append([hashed.hex(), *place, dict(said["headers"]).get("ce_id")])
        old = read_root(json.loads(files[f"{stem}.root.json"])["statement"])
        root = replace(old, records=tree.size, root=tree.root.hex())
        hour |= {"records": tree.size, "root": root.root, "chain": chain.hex()}
        files[f"{stem}.index.jsonl"] = b"".join(json.dumps(e).encode() + b"\n" for e in index)
        files[f"{stem}.root.json"] = json.dumps(_signed(root, by)).encode()
    files["keys.json"] = json.dumps({"public": by.public, "links": []}).encode()
    manifest["chain"] = chain.hex()
    manifest["files"] = [
        [n, len(d), sha256(d).hexdigest()]
        for n, d in files.items()
        if n not in (MANIFEST_NAME, SIGNATURE_NAME)
    ]
    files[MANIFEST_NAME] = json.dumps(manifest).encode()
    signature = {"key": by.public, "signature": by.sign(MANIFEST, files[MANIFEST_NAME])}
    files[SIGNATURE_NAME] = json.dumps(signature).encode()
    return files


def test_a_bundle_signed_anew_by_another_is_whole_but_not_ours(
    bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    files = contents(bundle)
    name, lines = lines_of(files)
    files[name] = b"".join([*lines[:3], *lines[4:]])
    other = Signer(Ed25519PrivateKey.generate())
    forged = rewritten(tmp_path / "b.tar", resigned(files, other))
    unpinned = verify(forged)
    assert unpinned.good, unpinned.findings
    assert unpinned.trusted is None
    pinned = verify(forged, signer.public)
    assert first(pinned) == ("signed by another key", other.public)


def test_a_bundle_of_a_later_key_is_trusted_by_whoever_knew_the_first(
    lived: Lived, tmp_path: Path
) -> None:
    file = tmp_path / "audit.key"
    old = load_signer(file, make=True).public
    new = rotate(file, NOW)
    done = taken(lived, new, tmp_path / "b.tar")
    for trusted in (old, new.public):
        assert verify(done.path, trusted).trusted
    files = contents(done.path)
    keys: dict[str, Any] = json.loads(files["keys.json"])
    keys["links"][0]["by_old"] = b64encode(b64decode(keys["links"][0]["by_old"])[::-1]).decode()
    files["keys.json"] = json.dumps(keys).encode()
    report = verify(rewritten(tmp_path / "c.tar", files), old)
    assert {f.what for f in report.findings} >= {"key not vouched for", "signed by another key"}


def test_an_object_that_was_changed_is_named(lived: Lived, signer: Signer, tmp_path: Path) -> None:
    done = taken(lived, signer, tmp_path / "a.tar", objects=True)
    files = contents(done.path)
    name = next(n for n in files if n.startswith("objects/"))
    files[name] = files[name][:-1] + b"?"
    report = verify(rewritten(tmp_path / "b.tar", files), signer.public)
    assert [(f.what, f.where) for f in report.findings] == [("object altered", name)]
