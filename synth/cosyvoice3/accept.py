"""Do these weights, in this precision, on this machine, really speak?

Speaks forty fixed sentences, has them heard, and measures: character error rate, likeness to the
recording, silence and clipping. Writes a report beside the weights; who serves users asks
``passed`` first. Knows no recogniser and no speaker encoder: they are handed in.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from . import catalogue
from .dims import SAMPLE_RATE
from .errors import BadModel, Refused
from .recording import Recording, Samples
from .request import Mode, Request

SILENT_DBFS = -50.0
FRAME = 480
MOST_SILENT = 0.7
MOST_CLIPPED = 0.002
CLIPPED = 0.985
SECONDS_PER_CHARACTER = (0.06, 1.2)
LEAST_LIKENESS = 0.6
MOST_ERRORS = {"plain": 0.15, "marks": 0.3, "instruct": 0.4, "dialect": 0.8}
"""Mean character error rate by kind: a recogniser of standard speech mishears dialects."""

Speak = Callable[[Request], Awaitable[Samples]]
Hear = Callable[[Samples, int], Awaitable[str]]
Likeness = Callable[[Samples, Recording], float]
Distance = Callable[[str, str], float]


@dataclass(frozen=True)
class Sentence:
    """What is spoken, how, and what should be heard."""

    kind: str
    text: str
    heard: str
    mode: Mode = Mode.ZERO_SHOT
    instruct: str | None = None


@dataclass(frozen=True)
class Measured:
    """One sentence's result; ``faults`` are what nobody could listen to."""

    kind: str
    text: str
    heard: str
    errors: float
    likeness: float
    silent: float
    clipped: float
    seconds: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The whole examination; it counts for one digest and one precision."""

    digest: str
    precision: str
    device: str
    passed: bool
    reasons: tuple[str, ...]
    errors: dict[str, float]
    likeness: float
    sentences: tuple[Measured, ...]


_PLAIN = (
    "今天天气很好，我们一起去公园散步吧。",
    "收到好友从远方寄来的生日礼物，我非常开心。",
    "请问最近的地铁站怎么走？",
    "这本书我已经看过两遍了。",
    "他每天早上六点起床跑步。",
    "祝你生日快乐，身体健康。",
    "会议改到明天下午三点开始。",
    "妈妈在厨房里做晚饭。",
    "海边的风很大，小心着凉。",
    "火车马上就要开了，请抓紧时间上车。",
    "我们学校有一个很大的图书馆。",
    "这道题太难了，我想了半天也没想出来。",
)
_ENGLISH = (
    "The weather is beautiful today, let us go for a walk.",
    "Please call me back when you arrive at the station.",
    "She has been reading the same book for two weeks.",
)
_MARKS = (
    (
        "因为他们那一辈人[breath]在乡里面住的要习惯一点。",
        "因为他们那一辈人在乡里面住的要习惯一点。",
    ),
    ("他突然[laughter]停下来，因为他自己也被逗笑了。", "他突然停下来，因为他自己也被逗笑了。"),
    ("这件事<strong>非常</strong>重要，请大家记住。", "这件事非常重要，请大家记住。"),
    ("她[h][ào]干净，每天都打扫房间。", "她好干净，每天都打扫房间。"),
)
_DIALECT = "我们明天早上一起去市场买菜。"
_INSTRUCTED = "收到你的来信，我心里有很多话想说。"

SENTENCES = (
    *(Sentence("plain", text, text) for text in _PLAIN[:8]),
    *(Sentence("plain", text, text, Mode.CROSS_LINGUAL) for text in (*_PLAIN[8:10], *_ENGLISH)),
    *(Sentence("marks", text, heard) for text, heard in _MARKS),
    *(
        Sentence("dialect", _DIALECT, _DIALECT, Mode.INSTRUCT, entry.name)
        for entry in catalogue.DIALECTS
    ),
    *(
        Sentence("instruct", _INSTRUCTED, _INSTRUCTED, Mode.INSTRUCT, name)
        for name in ("happy", "sad", "slow", "fast", "loud", "soft")
    ),
)


async def examine(
    voice: Recording,
    speak: Speak,
    hear: Hear,
    like: Likeness,
    distance: Distance | None = None,
    sentences: Sequence[Sentence] = SENTENCES,
) -> tuple[Measured, ...]:
    """Speak and measure each sentence; one that cannot be spoken is a fault, not an end."""
    compare = distance or character_errors
    return tuple([await _measure(s, voice, speak, hear, like, compare) for s in sentences])


async def _measure(
    sentence: Sentence,
    voice: Recording,
    speak: Speak,
    hear: Hear,
    like: Likeness,
    compare: Distance,
) -> Measured:
    request = Request(sentence.text, voice, sentence.mode, sentence.instruct)
    try:
        sound = await speak(request)
    except Refused as err:
        return _nothing(sentence, err.code)
    except BadModel as err:  # such as sound that is not finite: what half precision may do
        return _nothing(sentence, str(err))
    if not len(sound):
        return _nothing(sentence, "empty")
    faults = sound_faults(sound, SAMPLE_RATE, len(sentence.heard))
    if "not_finite" in faults:
        return _nothing(sentence, *faults)
    heard = await hear(sound, SAMPLE_RATE)
    return Measured(
        sentence.kind,
        sentence.text,
        heard,
        compare(sentence.heard, heard),
        like(sound, voice),
        silent_share(sound),
        clipped_share(sound),
        len(sound) / SAMPLE_RATE,
        faults,
    )


def judge(measured: Sequence[Measured], digest: str, precision: str, device: str) -> Report:
    """The verdict over all sentences, with a reason for each way to fail."""
    kinds = sorted({m.kind for m in measured})
    errors = {kind: fmean(m.errors for m in measured if m.kind == kind) for kind in kinds}
    likeness = fmean(m.likeness for m in measured) if measured else 0.0
    reasons = [f"{m.kind}: {fault} in {m.text!r}" for m in measured for fault in m.faults]
    reasons += [
        f"{kind}: {rate:.2f} of the characters were misheard, at most {MOST_ERRORS[kind]}"
        for kind, rate in errors.items()
        if not rate <= MOST_ERRORS[kind]
    ]
    if not likeness >= LEAST_LIKENESS:
        reasons.append(f"likeness to the recording is {likeness:.2f}, at least {LEAST_LIKENESS}")
    if not measured:
        reasons.append("nothing was spoken")
    return Report(
        digest, precision, device, not reasons, tuple(reasons), errors, likeness, tuple(measured)
    )


def sound_faults(sound: Samples, rate: int, characters: int) -> tuple[str, ...]:
    """What is wrong with a sound whatever it says."""
    if not np.isfinite(sound).all():
        return ("not_finite",)
    shortest, longest = (limit * characters for limit in SECONDS_PER_CHARACTER)
    level = 20 * np.log10(float(np.sqrt(np.mean(np.square(sound)))) + 1e-9)
    wrong = {
        "silent": level < SILENT_DBFS or silent_share(sound) > MOST_SILENT,
        "clipped": clipped_share(sound) > MOST_CLIPPED,
        "too_short": len(sound) / rate < shortest,
        "too_long": len(sound) / rate > longest,
    }
    return tuple(name for name, is_so in wrong.items() if is_so)


def silent_share(sound: Samples) -> float:
    """The share of frames below -50 dB of full scale."""
    whole = len(sound) // FRAME * FRAME
    if not whole:
        return 1.0
    power = np.square(sound[:whole].reshape(-1, FRAME)).mean(1)
    return float((10 * np.log10(power + 1e-12) < SILENT_DBFS).mean())


def clipped_share(sound: Samples) -> float:
    """The share of samples at the limit."""
    return float((np.abs(sound) >= CLIPPED).mean())


def character_errors(said: str, heard: str) -> float:
    """Edits between the two per character said."""
    a, b = spoken_characters(said), spoken_characters(heard)
    return edits(a, b) / max(len(a), 1)


def spoken_characters(text: str) -> list[str]:
    """Letters and digits, case ignored: what can be heard of a text."""
    return [c for c in text.lower() if c.isalnum()]


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Insertions, deletions and replacements from one to the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def write(report: Report, folder: Path) -> Path:
    """Keep the report where ``passed`` looks for it."""
    path = _path(folder, report.precision)
    path.write_text(json.dumps(asdict(report), ensure_ascii=False, indent=1), "utf-8")
    return path


def passed(folder: Path, precision: str, digest: str) -> bool:
    """Whether these very weights passed in this precision."""
    try:
        report = json.loads(_path(folder, precision).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    about = (report.get("digest"), report.get("precision"), report.get("passed"))
    return about == (digest, precision, True)


def _path(folder: Path, precision: str) -> Path:
    return folder / f"acceptance-{precision}.json"


def _nothing(sentence: Sentence, *faults: str) -> Measured:
    return Measured(sentence.kind, sentence.text, "", 1.0, 0.0, 1.0, 0.0, 0.0, faults)
