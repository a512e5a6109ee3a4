"""Do the networks compute what the model's authors' own modules compute?

    python -m synth.cosyvoice3.verify DIR [DEVICE [PRECISION]]

reads weights, inputs and results from a folder of golden vectors (any sizes: nothing is wired to
one folder), runs every case alone and in mixed padded batches, prints one JSON line of the worst
errors and exits 0 only when all are within tolerance: language model and flow relative to the
standard deviation of the value, the vocoder and the features absolute. Half precision is that of
language model and flow; the vectors were computed in float32.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import checkpoint, features
from .checkpoint import Precision
from .device import convolving
from .dims import SAMPLES_PER_FRAME, FlowDims
from .flow import Flow, FlowRow
from .hift import Noise, settled
from .lm import KVCache, SpeechLM

RELATIVE = {"float32": 1e-4, "bfloat16": 0.2, "float16": 0.03}
SOUND = 1e-5
FEATURE = 1e-3
LENGTH = 512

Case = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Where:
    """The device and the precision that are examined."""

    device: torch.device
    precision: Precision


CPU = Where(torch.device("cpu"), Precision("float32"))


def verify(folder: Path, where: Where = CPU) -> dict[str, float]:
    """The worst error of each comparison, by its name. BadModel if files do not fit."""
    with convolving(exactly=True):
        errors = {**_lm(folder, where), **_flow(folder, where), **_hift(folder, where.device)}
    return {**errors, **_features(folder)}


def within(errors: dict[str, float], precision: str = "float32") -> bool:
    """Whether every error is within its tolerance; a value that is no number is not."""
    return all(error <= tolerance(name, precision) for name, error in errors.items())


def tolerance(name: str, precision: str = "float32") -> float:
    """The tolerance of a comparison."""
    kind = name.split("_")[0]
    return {"hift": SOUND, "features": FEATURE}.get(kind, RELATIVE[precision])


def cases(path: Path) -> list[Case]:
    """A file of ``i.name`` tensors as a list of dictionaries."""
    found: dict[int, Case] = {}
    for name, value in load_file(path).items():
        head, _, tail = name.partition(".")
        if tail:
            found.setdefault(int(head), {})[tail] = value
    return [found[i] for i in sorted(found)]


def _lm(folder: Path, where: Where) -> dict[str, float]:
    network = checkpoint.load_lm(folder, LENGTH).to(where.device, where.precision.dtype)
    rows = cases(folder / "llm_cases.safetensors")
    return {
        "lm_alone": max(_lm_error(network, [row], slots=[2]) for row in rows),
        "lm_batch": _lm_error(network, rows, slots=list(reversed(range(len(rows))))),
    }


@torch.inference_mode()
def _lm_error(network: SpeechLM, rows: list[Case], slots: list[int]) -> float:
    """Teacher-forced decoding of all rows at once; rows that ran out go on with any token."""
    weight = network.head.weight
    cache = KVCache(network.dims, max(slots) + 1, LENGTH, weight.dtype, weight.device)
    device = weight.device
    prompts = [network.embed(r["text_ids"].tolist(), r["prompt_speech_ids"].tolist()) for r in rows]
    at, token = torch.zeros(2, cache.slots, dtype=torch.long, device=device).unbind()
    where = torch.tensor(slots, device=device)
    at[where] = torch.tensor([len(p) for p in prompts], device=device)
    got = [[row] for row in network.prefill(prompts, where, cache)]
    for step in range(max(len(r["forced_speech_ids"]) for r in rows)):
        for row, slot in zip(rows, slots, strict=True):
            forced = row["forced_speech_ids"]
            token[slot] = forced[min(step, len(forced) - 1)]
        logits = network.decode(token, at, cache, LENGTH)
        for out, slot in zip(got, slots, strict=True):
            out.append(logits[slot])
        at = at + 1
    return max(
        _relative(torch.stack(out[: len(row["logits"])]), row["logits"])
        for out, row in zip(got, rows, strict=True)
    )


def _flow(folder: Path, where: Where) -> dict[str, float]:
    network = checkpoint.placed(checkpoint.load_flow(folder), where.device, where.precision)
    network.dims = _flow_settings(folder, network.dims)
    rows = cases(folder / "flow_cases.safetensors")
    kinds = {"full": (False, True), "streaming_final": (True, True)}
    kinds["streaming_partial"] = (True, False)
    errors = {}
    mixed: list[tuple[FlowRow, Tensor]] = []
    for name, (streaming, final) in kinds.items():
        pairs = [(_flow_row(row, streaming, final), row[f"mel_{name}"]) for row in rows]
        errors[f"flow_{name}_alone"] = max(_flow_error(network, [pair]) for pair in pairs)
        errors[f"flow_{name}_batch"] = _flow_error(network, pairs)
        mixed += pairs
    return {**errors, "flow_mixed_batch": _flow_error(network, mixed)}


def _flow_settings(folder: Path, dims: FlowDims) -> FlowDims:
    """What no weight tells, where the folder's config does."""
    config = json.loads((folder / "config.json").read_text("utf-8")).get("flow", {})
    return dataclasses.replace(
        dims,
        steps=config.get("steps", dims.steps),
        guidance=config.get("cfg_rate", dims.guidance),
        chunk=config.get("static_chunk_mel_frames", dims.chunk),
    )


def _flow_row(row: Case, streaming: bool, final: bool) -> FlowRow:
    tokens = torch.cat((row["prompt_token"], row["token"]))
    return FlowRow(tokens, row["prompt_mel"], row["embedding"], streaming, final)


def _flow_error(network: Flow, pairs: list[tuple[FlowRow, Tensor]]) -> float:
    got = network([_moved(row, network.noise.device) for row, _ in pairs])
    return max(_relative(g, want) for g, (_, want) in zip(got, pairs, strict=True))


def _moved(row: FlowRow, device: torch.device) -> FlowRow:
    tokens, mel, speaker = (t.to(device) for t in (row.tokens, row.prompt_mel, row.speaker))
    return dataclasses.replace(row, tokens=tokens, prompt_mel=mel, speaker=speaker)


def _hift(folder: Path, device: torch.device) -> dict[str, float]:
    network = checkpoint.load_hift(folder).to(device)
    rows = cases(folder / "hift_cases.safetensors")
    drawn = load_file(folder / "hift_cases.safetensors")
    network.noise = Noise(network.dims.harmonics, drawn["source_noise"][0])
    mels = [row["mel"].to(device) for row in rows]
    alone = [network([mel])[0] for mel in mels]
    batch = network(mels)
    pitch = [network.f0_predictor(mel.double().T[None]).float()[0].detach() for mel in mels]
    wants = [row["f0"] for row in rows]
    return {
        "hift_pitch": max(_relative(g, w) for g, w in zip(pitch, wants, strict=True)),
        **{f"hift_{k}_alone": v for k, v in _hift_errors(alone, rows).items()},
        **{f"hift_{k}_batch": v for k, v in _hift_errors(batch, rows).items()},
    }


def _hift_errors(waves: list[Tensor], rows: list[Case]) -> dict[str, float]:
    """Against the whole sound, and its settled part against the sound that is not final."""
    pairs = list(zip(waves, rows, strict=True))
    cut: Callable[[Tensor], Tensor] = lambda w: w[: settled(len(w) // SAMPLES_PER_FRAME)]  # noqa: E731
    return {
        "final": max(_absolute(wave, row["wav_final"]) for wave, row in pairs),
        "partial": max(_absolute(cut(wave), row["wav_partial"]) for wave, row in pairs),
    }


def _features(folder: Path) -> dict[str, float]:
    want = load_file(folder / "features.safetensors")
    got = {
        "prompt_mel": features.prompt_mel(want["wav_24k"]),
        "whisper_mel_128": features.whisper_mel(want["wav_16k"]),
        "speaker_fbank": features.speaker_bank(want["wav_16k"]),
    }
    return {f"features_{name}": _absolute(value, want[name]) for name, value in got.items()}


def _absolute(got: Tensor, want: Tensor) -> float:
    if got.shape != want.shape:
        return float("inf")
    return float((got.cpu() - want).abs().max())


def _relative(got: Tensor, want: Tensor) -> float:
    return _absolute(got, want) / float(want.std())


def main(folder: Path, device: str = "cpu", precision: str = "float32") -> int:
    """Print the errors; 0 if all are within tolerance, else 1."""
    torch.set_num_threads(1)  # golden networks are small: threads would only wait for each other
    errors = verify(folder, Where(torch.device(device), Precision(precision)))
    good = within(errors, precision)
    report = {"ok": good, "errors": {k: float(f"{v:.3g}") for k, v in errors.items()}}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit("usage: python -m synth.cosyvoice3.verify DIR [DEVICE [PRECISION]]")
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
