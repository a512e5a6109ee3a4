"""`voxrelay model …`: fetch, check, try out and accept the weights of CosyVoice3.

Knows how the verbs are spelled, and joins the engine's acceptance with the ear of moderation and
the speaker encoder of synth. Refuses to know what any of them computes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import Misconfigured

if TYPE_CHECKING:
    from synth.cosyvoice3 import Recording
    from synth.cosyvoice3.accept import Report
    from synth.cosyvoice3.recording import Samples
    from synth.cosyvoice3.release import Finding

app = typer.Typer(no_args_is_help=True, help="The weights of CosyVoice3.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Folder = Annotated[Path, typer.Argument(help="Folder with the model.")]

_MODELS = ("cosyvoice3",)
EXAMPLE = Path(__file__).parents[1] / "examples" / "mandarin.flac"


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="cosyvoice3")] = "cosyvoice3",
    to: Annotated[Path, typer.Option(help="Folder to fill.")] = Path("models/cosyvoice3"),
    hub: Annotated[str, typer.Option(help="huggingface or modelscope")] = "huggingface",
    revision: Annotated[str | None, typer.Option(help="A revision of the hub's.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch the released files; called again, it goes on where it was cut off."""
    from synth.cosyvoice3 import BadModel, hubs, release

    if name not in _MODELS:
        raise typer.BadParameter(f"{name}: models are {', '.join(_MODELS)}")
    try:
        findings = release.pull(hubs.named(hub, revision), to)
    except BadModel as err:
        raise Misconfigured(str(err)) from err
    _tell(findings, as_json)


@app.command()
def check(folder: Folder, as_json: Json = False) -> None:
    """Say what is missing or wrong, which files are read and which are not, and why."""
    from synth.cosyvoice3 import release

    _tell(release.check(folder), as_json)


@app.command()
def tiny(
    folder: Folder,
    seed: Annotated[int, typer.Option(help="Of its random weights.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a small random model of the same layout: it speaks noise, on any CPU."""
    from synth.cosyvoice3 import release
    from synth.cosyvoice3 import tiny as small

    small.write(folder, seed)
    if as_json:
        _tell(release.check(folder), as_json)
    print(f"{folder} holds a model that speaks noise: every path runs with it, and nothing else.")


@app.command()
def accept(
    folder: Folder,
    recording: Annotated[
        Path | None, typer.Option(help="A recording of 3 to 10 s; the demo's if not given.")
    ] = None,
    transcript: Annotated[str, typer.Option(help="What is said in it.")] = "",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16")] = "float32",
    device: Annotated[str | None, typer.Option(help="cuda or cpu")] = None,
    whisper: Annotated[str, typer.Option(help="Size of the Whisper that listens.")] = "base",
    as_json: Json = False,
) -> None:
    """Speak 40 sentences, hear them, measure them, and write the report synth asks for."""
    from synth.cosyvoice3 import EngineError, Refused
    from synth.cosyvoice3.accept import write

    if recording is None:
        recording, transcript = EXAMPLE, EXAMPLE.with_suffix(".txt").read_text("utf-8")
    try:
        report = asyncio.run(_examine(folder, recording, transcript, precision, device, whisper))
    except Refused as err:
        raise typer.BadParameter(str(err), param_hint="--recording") from err
    except EngineError as err:
        raise Misconfigured(str(err)) from err
    path = write(report, folder)
    if as_json:
        print(path.read_text("utf-8"))
    else:
        print("\n".join([*report.reasons, "passed" if report.passed else "not passed"]))
    raise typer.Exit(0 if report.passed else 1)


async def _examine(
    folder: Path,
    recording: Path,
    transcript: str,
    precision: str,
    device: str | None,
    whisper: str,
) -> Report:
    from moderation.whisper import open_whisper
    from synth.cosyvoice3 import Engine, Recording, Settings, checkpoint
    from synth.cosyvoice3 import accept as acceptance

    digest = checkpoint.digest(folder)
    engine = Engine.load(folder, Settings(device=device, precision=precision))
    kind = engine.core.runner.device.type
    ear = open_whisper(whisper, None, device=kind, threads=2, batch=1)

    async def hear(sound: Samples, rate: int) -> str:
        low = Recording(sound, rate).at(16_000)
        return (await ear.hear(low, None)).text

    try:
        measured = await acceptance.examine(
            Recording.read(recording, transcript), engine.say, hear, _likeness(), _sounds_apart
        )
    finally:
        engine.close()
        await ear.close()
    return acceptance.judge(measured, digest, precision, kind)


def _likeness() -> Callable[[Samples, Recording], float]:
    """How alike two voices are, by the encoder that the demo voice chooses with."""
    from synth import weights
    from synth.speaker import Encoder

    encoder = Encoder.load(weights.load(weights.SPEAKER))

    def compare(sound: Samples, voice: Recording) -> float:
        return float(encoder.embed(sound, 24_000) @ encoder.embed(voice.samples, voice.rate))

    return compare


def _sounds_apart(said: str, heard: str) -> float:
    """Character errors where homophones count as right: they are the recogniser's mistake."""
    from opencc import OpenCC
    from pypinyin import lazy_pinyin

    from synth.cosyvoice3.accept import edits, spoken_characters

    simplified = OpenCC("t2s").convert(heard)
    texts = ["".join(spoken_characters(text)) for text in (said, simplified)]
    sounds = [lazy_pinyin(text, errors=list) for text in texts]  # type: ignore[arg-type]
    return min(edits(*texts), edits(*sounds)) / max(len(texts[0]), 1)


def _tell(findings: Sequence[Finding], as_json: bool) -> None:
    from synth.cosyvoice3 import release

    fine = release.good(findings)
    if as_json:
        listed = [{"file": f.file, "status": f.status, "why": f.why} for f in findings]
        print(json.dumps({"ok": fine, "files": listed}, ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{finding.status:9} {finding.file}  {finding.why}")
    raise typer.Exit(0 if fine else 1)
