"""What may be asked of the engine, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .errors import Refused
from .recording import Recording

SPEEDS = (0.5, 2.0)


class Mode(StrEnum):
    """How the recording guides the speech.

    ``zero_shot`` goes on from the recording and its transcript; ``cross_lingual`` takes only the
    voice; ``instruct`` takes the voice and follows an instruction.
    """

    ZERO_SHOT = "zero_shot"
    CROSS_LINGUAL = "cross_lingual"
    INSTRUCT = "instruct"


@dataclass(frozen=True)
class Request:
    """One text in one voice.

    ``instruct`` is a name of the catalogue or free text; given with another mode it is followed
    all the same. ``speed`` 2 is twice as fast at the same pitch. ``stream`` gives sound in
    chunks as it is made. ``normalise`` false takes the text for written out already.
    """

    text: str
    recording: Recording
    mode: Mode = Mode.ZERO_SHOT
    instruct: str | None = None
    speed: float = 1.0
    seed: int = 0
    stream: bool = False
    normalise: bool = True

    def check(self) -> None:
        """Refused for what can be told without any network."""
        if self.mode not in tuple(Mode):
            raise Refused("unknown_mode", f"there is no mode {self.mode}")
        if self.mode == Mode.INSTRUCT and not (self.instruct or "").strip():
            raise Refused("instruct_missing", "mode instruct needs an instruction")
        if not SPEEDS[0] <= self.speed <= SPEEDS[1]:
            raise Refused("speed_out_of_range", "the speed has to lie between 0.5 and 2")
        self.recording.check()
