"""Files made on purpose: polyglots, bombs, and headers that lie. Each has the code it must get."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from tests.hostile.bases import bases
from tests.ingest.sounds import coded, encoded, silent_hours, video, wav

BIG = 8_000_000
"""Bytes of the large ones: in base64 they still fit into a body."""
FTYP = b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"

TAKEN = "accepted"
AGAIN = "unavailable"
"""The one server's error that is one by design: too much to do just now."""
BROKEN = "recording_broken"
NONE = "recording_not_audio"
VIDEO = "recording_is_video"
LONG = "recording_too_long"
COMPLEX = "recording_too_complex"
CODEC = "recording_codec_unknown"

Made = dict[str, tuple[Callable[[], bytes], set[str]]]


def _zip() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("42", b"\0" * 4_000_000)
    return held.getvalue()


def _html(data: bytes) -> bytes:
    return b"<!doctype html><script>alert(document.cookie)</script><!--" + data


def _pdf(data: bytes) -> bytes:
    return b"%PDF-1.7\n1 0 obj<</Length 9>>stream\n" + data + b"\nendstream endobj\n%%EOF"


def _loud(seconds: float, rate: int) -> np.ndarray:
    return np.full(int(seconds * rate), 9_000, np.int16)


def _boxes(name: bytes, depth: int) -> bytes:
    """An MP4 whose boxes lie in boxes, each as large as what is in it."""
    heads = [(8 * (level + 1)).to_bytes(4, "big") + name for level in reversed(range(depth))]
    return FTYP + b"".join(heads)


def _wav_says(at: int, value: int, width: int) -> bytes:
    head = bytearray(wav())
    head[at : at + width] = value.to_bytes(width, "little")
    return bytes(head)


def _id3(size: int, body: bytes) -> bytes:
    safe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + safe + body


def _counts(name: bytes, value: int) -> bytes:
    """An M4A whose table `name` says it has `value` entries."""
    data = bytearray(bases()["m4a"])
    at = data.index(name) + (12 if name == b"stsz" else 8)
    data[at : at + 4] = value.to_bytes(4, "big")
    return bytes(data)


def _ebml(depth: int) -> bytes:
    """Matroska whose masters nest and all say that they never end."""
    head = bytes.fromhex("1a45dfa3a3428681014286810142f7810142f2810442f381084282886d6174726f736b61")
    head = head[:4] + bytes([0x80 | (len(head) - 5)]) + head[5:]
    return head + bytes.fromhex("1853806701ffffffffffffff") + b"\x1c\x53\xbb\x6b\xff" * depth


def _flac_says_much() -> bytes:
    """A FLAC whose STREAMINFO tells of 2**36 samples."""
    data = bytearray(coded("flac", "flac"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return bytes(data)


def _many_streams() -> bytes:
    """Ogg with a thousand beginnings and nothing behind them."""
    page = bases()["ogg"][:47]
    return b"".join(page[:14] + n.to_bytes(4, "little") + page[18:] for n in range(1_000))


def _changing() -> bytes:
    """An MP3 that is another one every few frames: rates, and channels."""
    kinds = [
        encoded(_loud(0.4, rate), "mp3", "libmp3lame", rate, layout=layout)
        for rate in (16_000, 22_050, 44_100, 48_000)
        for layout in ("mono", "stereo")
    ]
    return b"".join(kinds) * 20


@cache
def handmade() -> Mapping[str, tuple[Callable[[], bytes], frozenset[str]]]:
    """Files by name, and the codes that are right for each; `TAKEN` where it may be a recording."""
    made = {**_polyglots(), **_bombs(), **_liars()}
    return {name: (make, _right(codes)) for name, (make, codes) in made.items()}


def _right(codes: set[str]) -> frozenset[str]:
    """On a machine too busy to find out how costly a file is, its sender is told to come again."""
    return frozenset(codes | {AGAIN} if COMPLEX in codes else codes)


def _polyglots() -> Made:
    """Files that are two things at once, or something else altogether."""
    return {
        "wav that is a zip": (lambda: bases()["wav"] + _zip(), {TAKEN}),
        "zip before a wav": (lambda: _zip() + bases()["wav"], {NONE}),
        "html before an mp3": (lambda: _html(bases()["mp3"]), {TAKEN}),
        "pdf around an mp3": (lambda: _pdf(bases()["mp3"]), {BROKEN}),
        "gif before an m4a": (lambda: b"GIF89a\x01\0\x01\0" + bases()["m4a"], {NONE}),
        "m4a twice": (lambda: bases()["m4a"] * 2, {TAKEN}),
        "wav then mp3": (lambda: bases()["wav"] + bases()["mp3"], {TAKEN}),
        "every container in one": (lambda: b"".join(bases().values()), {VIDEO, NONE}),
        "a program": (lambda: b"\x7fELF\x02\x01\x01" + bytes(9_000), {NONE}),
        "a script": (lambda: b"#!/bin/sh\nrm -rf ~\n" * 500, {NONE}),
        "a film": (video, {VIDEO}),
    }


def _bombs() -> Made:
    """Files that cost more than they weigh: time, memory, depth."""
    return {
        "hours of silence": (silent_hours, {LONG}),
        "eight channels at 192 kHz": (
            lambda: encoded(_loud(12, 192_000), "flac", "flac", 192_000, layout="7.1"),
            {TAKEN, COMPLEX},
        ),
        "amr of nothing": (lambda: b"#!AMR\n" + b"\x7c" * BIG, {BROKEN}),
        "tiny aac frames": (lambda: bytes.fromhex("fff1504000fffc") * (BIG // 7), {COMPLEX}),
        "mp3 sync words": (lambda: b"\xff\xfb\x90\x64" * (BIG // 4), {COMPLEX, NONE}),
        "ogg marks": (lambda: b"OggS" * (BIG // 4), {BROKEN, COMPLEX}),
        "zeros": (lambda: bytes(BIG), {NONE}),
        "an mp3 that keeps changing": (_changing, {BROKEN}),
        "empty boxes": (lambda: FTYP + b"\0\0\0\x08free" * (BIG // 8), {COMPLEX}),
        "boxes in boxes": (lambda: _boxes(b"moov", 5_000), {BROKEN, COMPLEX}),
        "boxes without meaning in boxes": (lambda: _boxes(b"udta", 5_000), {BROKEN, COMPLEX}),
        "masters without an end": (lambda: _ebml(200_000), {BROKEN}),
        "a thousand beginnings": (_many_streams, {BROKEN}),
        "a wav of tiny chunks": (
            lambda: wav()[:12] + b"junk\0\0\0\0" * (BIG // 8) + wav()[12:],
            {COMPLEX},
        ),
        "an id3 tag of many frames": (
            lambda: _id3(BIG, b"TXXX\0\0\0\x01\0\0\0" * (BIG // 11)) + bases()["mp3"],
            {TAKEN, COMPLEX},
        ),
    }


def _liars() -> Made:
    """Headers that say what is not so."""
    return {
        "a sample table of four billion": (lambda: _counts(b"stsz", 2**32 - 1), {BROKEN}),
        "times of four billion": (lambda: _counts(b"stts", 2**32 - 1), {COMPLEX, BROKEN}),
        "chunks of two billion": (lambda: _counts(b"stco", 2**31 - 1), {TAKEN, COMPLEX, BROKEN}),
        "a wav of 65,535 channels": (lambda: _wav_says(22, 65_535, 2), {BROKEN}),
        "a wav at four gigahertz": (lambda: _wav_says(24, 2**32 - 1, 4), {BROKEN}),
        "a wav at 0 Hz": (lambda: _wav_says(24, 0, 4), {BROKEN}),
        "a wav of no bits": (lambda: _wav_says(34, 0, 2), {CODEC}),
        "a wav of 65,535 bits": (lambda: _wav_says(34, 65_535, 2), {CODEC}),
        "a wav without blocks": (lambda: _wav_says(32, 0, 2), {TAKEN}),
        "a wav of four gigabytes": (lambda: _wav_says(4, 2**32 - 2, 4), {TAKEN}),
        "an id3 tag of 256 MB": (lambda: _id3(2**28 - 1, bases()["mp3"]), {BROKEN, COMPLEX}),
        "a flac of 2**36 samples": (_flac_says_much, {BROKEN}),
    }
