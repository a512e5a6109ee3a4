"""What a preset style comes down to for an engine.

Knows how a style, an instruction and a speed are put together. Refuses to know which styles there
are (`schemas.styles` does), and engines.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.events import Mode
from schemas.styles import BY_NAME, Style
from synth.voice import SPEEDS, Refusal, refuse


@dataclass(frozen=True, slots=True)
class Wish:
    """Mode, instruction and speed that a request comes down to."""

    mode: Mode
    instruct: str | None
    style: str | None
    speed: float


def find(name: str) -> Style:
    """The style of this id, Chinese or English name; `BadRecord` (`unknown_style`) if none."""
    style = BY_NAME.get(name.strip().lower())
    if style is None:
        raise refuse(Refusal.UNKNOWN_STYLE)
    return style


def resolve(mode: Mode, instruct: str | None, style: str | None, speed: float) -> Wish:
    """What the engine is asked for.

    A style brings its own instruction, ahead of the user's if both are given, and its pace on top
    of the speed asked for, within the limits. A style is an instruction, so `zero_shot` with one
    becomes `instruct`; `cross_lingual` stays what it is.
    """
    said = (instruct or "").strip() or None
    if style is None or not style.strip():
        return Wish(mode, said, None, speed)
    preset = find(style)
    return Wish(
        Mode.INSTRUCT if mode is Mode.ZERO_SHOT else mode,
        preset.instruct if said is None else f"{preset.instruct}{said}",
        preset.id,
        round(min(max(speed * preset.speed, SPEEDS[0]), SPEEDS[1]), 4),
    )
