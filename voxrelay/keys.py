"""`voxrelay keys`: the master key and its successors, and what lies in escrow.

Knows options, files and what is printed. Refuses to print a key, and to take a passphrase as a word
of the command.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from audit.custody import give, take_back
from audit.escrow import Lock, Passphrase, PublicKey
from relay.errors import Misconfigured
from relay.handover import Recipient
from relay.settings import Settings
from relay.spine import Spine
from relay.sql.master import load_master, master_file, renew, retire
from relay.sql.rewrap import rewrap, wrapped_by
from voxrelay.auditing import As, Json, Reason, fail, reading, run, say

app = typer.Typer(no_args_is_help=True, help="The master key, and persons' keys in escrow.")

_SHORTEST = 12
"""Characters of a passphrase: whoever has the file can try as many as they like."""

Prepare = Annotated[
    bool, typer.Option(help="Only put a new key into the file, for it to be given to all hosts.")
]
Escrow = Annotated[Path, typer.Argument(help="The escrow file.")]
To = Annotated[str | None, typer.Option(help="Public key (`keys new`) that it is sealed to.")]
Words = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="File whose first line is the passphrase."),
]
Private = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="File that `keys new` has made.")
]


@app.command()
def show(as_json: Json = False) -> None:
    """Tell which master key is in use, and how many keys each one wraps."""
    master = load_master(Settings()).id
    counts = run(lambda spine: wrapped_by(spine.database))
    lines = [f"{id_}  wraps {count}" for id_, count in sorted(counts.items())]
    said = {"in_use": master, "wraps": counts}
    say("\n".join([f"{master}  in use", *lines]), said, as_json=as_json)


@app.command()
def rotate(
    prepare: Prepare = False, actor: As = None, reason: Reason = None, as_json: Json = False
) -> None:
    """Put a new master key in place of the old one, under load; a second time finishes it."""
    path = master_file(Settings())
    load_master(Settings())  # refuses what is none, and makes what an embedded relay lacks
    new, old = renew(path)
    if prepare:
        line = f"{path}: {new.id} will follow {old.id}. Give the file to every host, then rotate."
        say(line, {"new": new.id, "old": old.id, "done": False}, as_json=as_json)
        return

    async def work(spine: Spine) -> int:
        count = await rewrap(spine.database, old, new)
        if strangers := set(await wrapped_by(spine.database)) - {new.id}:
            raise Misconfigured(f"keys are wrapped by others than {old.id}: {sorted(strangers)}")
        await spine.database.settle()
        return count

    count = run(work, reading("keys rotate", actor, reason, opened=False))
    retire(path)
    line = f"{new.id} wraps {count} keys; {old.id} is gone from {path}. Give that to every host."
    say(line, {"new": new.id, "old": old.id, "wrapped": count, "done": True}, as_json=as_json)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where the private key goes.")],
    as_json: Json = False,
) -> None:
    """Make a key pair for escrow; the private half belongs far from here."""
    private = X25519PrivateKey.generate()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{file} exists.")
    with os.fdopen(handle, "w") as out:
        out.write(private.private_bytes_raw().hex() + "\n")
    public = str(Recipient(private.public_key()))
    say(public, {"public": public}, as_json=as_json)


@app.command()
def escrow(
    file: Escrow,
    to: To = None,
    passphrase_file: Words = None,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Write every person's key and the site's secrets into a file that only one can open."""
    if file.exists():
        fail(f"{file} exists.")
    lock = _sealing(to, passphrase_file)
    access = reading("keys escrow", actor, reason, opened=False)
    found = run(lambda spine: give(spine, file, lock), access)
    _tell(found, as_json=as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The escrow file.")],
    key_file: Private = None,
    passphrase_file: Words = None,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Take the keys back that are lacking here; whoever was erased stays erased."""
    lock = _opening(key_file, passphrase_file)
    access = reading("keys restore", actor, reason, opened=False)
    _tell(run(lambda spine: take_back(spine, file, lock), access), as_json=as_json)


def _sealing(to: str | None, words: Path | None) -> Lock:
    if (to is None) == (words is None):
        fail("Name either --to or --passphrase-file.", 2)
    try:
        return PublicKey(Recipient.read(to)) if to is not None else _passphrase(words)
    except ValueError:
        fail("--to is no public key: 64 hex digits, as `voxrelay keys new` prints them.", 2)


def _opening(key: Path | None, words: Path | None) -> Lock:
    if (key is None) == (words is None):
        fail("Name either --key-file or --passphrase-file.", 2)
    if key is None:
        return _passphrase(words)
    try:
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(key.read_text().strip()))
    except ValueError:
        fail(f"{key} is no private key: 64 hex digits.", 2)
    return PublicKey(Recipient(private.public_key()), private)


def _passphrase(file: Path | None) -> Passphrase:
    assert file is not None
    words = file.read_bytes().split(b"\n")[0].strip()
    if len(words) < _SHORTEST:
        fail(f"{file}: a passphrase has {_SHORTEST} characters at least.", 2)
    return Passphrase(words)


def _tell(found: Counter[str], *, as_json: bool) -> None:
    line = ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or "nothing"
    say(line, dict(found), as_json=as_json)
