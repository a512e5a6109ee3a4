"""The released folder: fetched whole, checked file by file, and what each file is for.

Knows the names of the release and the hubs that carry it. A hub's client is imported when it is
called for; what it brought is compared with the sizes and hashes the hub itself states.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from torch import Tensor

from . import checkpoint, hift, layout
from .dims import FlowDims, HiFTDims, LMDims
from .errors import BadModel
from .prompt import PromptEncoder
from .tokenizer import Tokenizer

RELEASE = "FunAudioLLM/Fun-CosyVoice3-0.5B-2512"
TEXT = "CosyVoice-BlankEN"
TEXT_FILES = tuple(
    f"{TEXT}/{name}"
    for name in ("config.json", "vocab.json", "merges.txt", "tokenizer_config.json")
)
ONNX = ("campplus.onnx", "speech_tokenizer_v3.onnx")
WANTED = ("llm.pt", "flow.pt", "hift.pt", *ONNX, *TEXT_FILES)
MANIFEST = "manifest.json"
BLOCK = 1 << 20

NOT_READ = {
    "llm.rl.pt": "language model after reinforcement learning: to speak with it, put it in the"
    " place of llm.pt and accept it anew",
    "flow.decoder.estimator.fp32.onnx": "the flow for TensorRT: the same weights as flow.pt",
    "speech_tokenizer_v3.batch.onnx": "speech tokenizer for training in batches",
    "cosyvoice3.yaml": "executable configuration: sizes are read from the weights instead",
    "spk2info.pt": "voices kept by another program",
    "configuration.json": "the hub's own description",
    "README.md": "text",
    f"{TEXT}/model.safetensors": "Qwen2 before it learnt to speak: llm.pt holds what became of it",
    f"{TEXT}/generation_config.json": "how to sample text",
}


class Status(StrEnum):
    """What a file of the folder is to this engine."""

    READ = "read"
    NOT_READ = "not read"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One file, and why it is so."""

    file: str
    status: Status
    why: str = ""


@dataclass(frozen=True)
class Listed:
    """A file a hub offers; ``sha256`` is empty where the hub does not say."""

    path: str
    size: int
    sha256: str = ""


class Hub(Protocol):
    """A place that carries the release."""

    def files(self) -> Sequence[Listed]:
        """What it offers."""

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Bring files into the folder, going on where an earlier call was cut off."""


def check(folder: Path) -> list[Finding]:
    """Every file of the folder and every file it should have, judged."""
    findings = [*_networks(folder), *_others(folder)]
    known = {finding.file for finding in findings}
    findings += [f for f in _manifest_findings(folder) if f.file not in known or f.why]
    seen = {finding.file for finding in findings}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if (
            name not in seen
            and name not in (MANIFEST,)
            and not name.startswith((".", "acceptance-"))
        ):
            why = NOT_READ.get(name, "nothing here needs it")
            findings.append(Finding(name, Status.NOT_READ, why))
    return findings


def good(findings: Sequence[Finding]) -> bool:
    """Whether the engine can be loaded from the folder."""
    return not any(finding.status in (Status.MISSING, Status.WRONG) for finding in findings)


def pull(hub: Hub, folder: Path) -> list[Finding]:
    """Fetch what is read of the release and check it; a second call fetches only what lacks.

    BadModel if the hub lacks a file, or what came is not what the hub says it has.
    """
    offered = {listed.path: listed for listed in hub.files()}
    lacking = [name for name in WANTED if name not in offered]
    if lacking:
        raise BadModel(f"the hub does not carry {', '.join(lacking)}")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [offered[name] for name in WANTED]
    hub.fetch([w.path for w in wanted if _differs(folder / w.path, w)], folder)
    still = [w.path for w in wanted if (why := _differs(folder / w.path, w)) and why]
    if still:
        raise BadModel(f"not what the hub says it has: {', '.join(still)}")
    kept = {w.path: {"bytes": w.size, "sha256": sha256(folder / w.path)} for w in wanted}
    (folder / MANIFEST).write_text(json.dumps(kept, indent=1), "utf-8")
    return check(folder)


def sha256(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _networks(folder: Path) -> list[Finding]:
    checks: dict[str, Callable[[dict[str, Tensor]], dict[str, layout.Shape]]] = {
        "llm": lambda w: layout.llm(LMDims.of(w, checkpoint.read_config(folder))),
        "flow": lambda w: layout.flow(FlowDims.of(w)),
        "hift": lambda w: layout.hift(HiFTDims.of(hift.from_released(w))),
    }
    return [_network(folder, name, shapes) for name, shapes in checks.items()]


def _network(
    folder: Path, name: str, shapes: Callable[[dict[str, Tensor]], dict[str, layout.Shape]]
) -> Finding:
    try:
        path = checkpoint.weights_path(folder, name)
    except BadModel:
        return Finding(f"{name}.pt", Status.MISSING, "one of the three networks")
    try:
        weights = checkpoint.read_weights(path)
        weights = {key.removeprefix("generator."): value for key, value in weights.items()}
        faults = _shape_faults(weights, checkpoint.sized(lambda: shapes(weights)))
    except BadModel as err:
        return Finding(path.name, Status.WRONG, str(err))
    if faults:
        return Finding(path.name, Status.WRONG, "; ".join(faults[:5]))
    return Finding(path.name, Status.READ, f"{len(weights)} tensors")


def _shape_faults(weights: dict[str, Tensor], wanted: dict[str, layout.Shape]) -> list[str]:
    spare = {"llm.model.lm_head.weight"}  # tied to the embedding, and used by nobody here
    faults = [f"lacks {key}" for key in wanted if key not in weights and key not in spare]
    faults += [f"has unknown {key}" for key in weights if key not in wanted]
    return faults + [
        f"{key} is {tuple(weights[key].shape)}, not {shape}"
        for key, shape in wanted.items()
        if key in weights and tuple(weights[key].shape) != shape
    ]


def _others(folder: Path) -> list[Finding]:
    """The ONNX networks and the tokenizer, opened as the engine would."""
    findings = [
        Finding(name, Status.MISSING, "needed to take in recordings" if name in ONNX else "text")
        for name in (*ONNX, *TEXT_FILES)
        if not (folder / name).is_file()
    ]
    lacking = {finding.file for finding in findings}
    findings += [Finding(n, Status.READ) for n in (*ONNX, *TEXT_FILES) if n not in lacking]
    try:
        checkpoint.refuse_older(folder)
        if not lacking & set(ONNX):
            PromptEncoder(folder)
    except BadModel as err:
        findings.append(Finding("speech_tokenizer_v3.onnx", Status.WRONG, str(err)))
    try:
        if not lacking & set(TEXT_FILES):
            Tokenizer(folder / TEXT).check_rows(_rows_of_text(folder))
    except BadModel as err:
        findings.append(Finding(TEXT, Status.WRONG, str(err)))
    return findings


def _rows_of_text(folder: Path) -> int:
    """Rows of the language model's text, as many as anybody wants where it cannot be read."""
    try:
        weights = checkpoint.read_weights(checkpoint.weights_path(folder, "llm"))
        return LMDims.of(weights, checkpoint.read_config(folder)).vocab
    except BadModel:
        return sys.maxsize  # said of that file already


def _manifest_findings(folder: Path) -> list[Finding]:
    """Files that changed since they were fetched."""
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        kept = json.loads(path.read_text("utf-8"))
        listed = [Listed(name, entry["bytes"], entry["sha256"]) for name, entry in kept.items()]
    except (AttributeError, LookupError, TypeError, ValueError):
        return [Finding(MANIFEST, Status.WRONG, "is none of ours: remove it, or pull again")]
    changed = [(item.path, _differs(folder / item.path, item)) for item in listed]
    return [Finding(name, Status.WRONG, why) for name, why in changed if why]


def _differs(path: Path, listed: Listed) -> str:
    """How a file differs from what is listed; empty if it does not."""
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != listed.size:
        return f"has {path.stat().st_size} bytes, not {listed.size}"
    if listed.sha256 and sha256(path) != listed.sha256:
        return "has other content than was listed"
    return ""
