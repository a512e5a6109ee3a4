"""The engine: which voice speaks, whether its model is whole and accepted, and what room it has.

Knows the settings of synth and the model's own reports. Loads no weights.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from relay.settings import Settings
from synth.cosyvoice3_voice import CosyVoice3Settings
from synth.settings import SynthSettings
from voxrelay.doctor.finding import Finding, absent, bad, doubtful, good

_LEAST_FREE_MB = 8_000
"""Weights in bfloat16, caches and room for a few dozen streams."""


async def look_at_engine(settings: Settings) -> AsyncIterator[Finding]:
    """What synth would speak with here."""
    if settings.edge or "synth" not in settings.stages:
        yield absent("voice", "no synth runs at this site")
        return
    voice = SynthSettings().voice
    if voice != "cosyvoice3":
        do = "Set VOXRELAY_SYNTH_VOICE=cosyvoice3 where there is a GPU."
        yield doubtful("voice", f"{voice} speaks: it does not take on the recording's voice", do)
        return
    for finding in await asyncio.to_thread(_cosyvoice3, CosyVoice3Settings(), settings.models):
        yield finding


def _cosyvoice3(engine: CosyVoice3Settings, models: Path | None) -> list[Finding]:
    folder = engine.folder or (models / "cosyvoice3" if models else None)
    if folder is None or not folder.is_dir():
        do = "Run `voxrelay model pull`, and set VOXRELAY_COSYVOICE3_FOLDER to where it lies."
        return [bad("model", "there is no folder with the model", do)]
    return [_files(folder), _accepted(folder, engine), _device(engine.device)]


def _files(folder: Path) -> Finding:
    from synth.cosyvoice3 import release
    from synth.cosyvoice3.release import Status

    found = release.check(folder)
    if release.good(found):
        return good("model", f"{sum(f.status is Status.READ for f in found)} files, all whole")
    unfit = (Status.MISSING, Status.WRONG)
    lacking = [f"{f.file} is {f.status}" for f in found if f.status in unfit]
    return bad("model", "; ".join(lacking), "Run `voxrelay model pull` again: it fetches those.")


def _accepted(folder: Path, engine: CosyVoice3Settings) -> Finding:
    from synth.cosyvoice3 import BadModel, accept
    from synth.cosyvoice3.checkpoint import digest

    if engine.unaccepted:
        do = "Unset VOXRELAY_COSYVOICE3_UNACCEPTED once they are accepted."
        return doubtful("model", "weights speak whether they were accepted or not", do)
    try:
        passed = accept.passed(folder, engine.precision, digest(folder))
    except BadModel as wrong:
        return bad("model", str(wrong), "Run `voxrelay model check`.")
    if not passed:
        do = f"Run `voxrelay model accept {folder}`: nothing is spoken before they pass."
        return bad("model", f"these weights were not accepted in {engine.precision}", do)
    return good("model", f"accepted in {engine.precision}")


def _device(named: str | None) -> Finding:
    import torch

    if not torch.cuda.is_available():
        if named and named.startswith("cuda"):
            do = "See that the driver is there (`nvidia-smi`) and given to this process."
            return bad("device", f"{named} is set, and there is no GPU to be had", do)
        do = "Fine for trying out; give synth a GPU for users."
        return doubtful("device", "the CPU: some hundred times slower than a GPU", do)
    free, total = (each >> 20 for each in torch.cuda.mem_get_info(named))
    says = f"{torch.cuda.get_device_name(named)}, {free} of {total} MiB free"
    if free < _LEAST_FREE_MB:
        do = "See who else is on it (`nvidia-smi`), or set VOXRELAY_COSYVOICE3_MEMORY_MB."
        return doubtful("device", says, do)
    return good("device", says)
