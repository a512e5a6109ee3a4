"""A request to what the networks take: ids of text, features of the recording.

Joins text, tokenizer, catalogue and prompt; knows the conventions of each mode and no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import catalogue, text
from .errors import Refused
from .prompt import Prompt, PromptEncoder
from .request import Mode, Request
from .tokenizer import Tokenizer

LEAST_PER_TOKEN = 2
MOST_PER_TOKEN = 20


@dataclass(frozen=True)
class PieceText:
    """Ids before the task mark, and how many speech tokens may come after it."""

    ids: tuple[int, ...]
    least: int
    most: int


@dataclass(frozen=True)
class Prepared:
    """Pieces to speak one after another; ``continues``: the model goes on from the recording."""

    pieces: tuple[PieceText, ...]
    prompt: Prompt
    continues: bool


class Frontend:
    """Text and recordings of one model folder. Safe to share by threads."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer(folder / "CosyVoice-BlankEN")
        self.prompts = PromptEncoder(folder)
        self.normalise = text.Normaliser()

    def prepare(self, request: Request) -> Prepared:
        """Everything the networks need; Refused if the request is out of bounds."""
        request.check()
        spoken = self.normalise(request.text) if request.normalise else request.text
        if not text.speakable(spoken):
            raise Refused("text_empty", "nothing is left to say")
        measure = lambda part: len(self.tokenizer.encode(part))  # noqa: E731
        before, continues = self._before(request)
        pieces = tuple(self._piece(before, part) for part in text.split(spoken, measure))
        return Prepared(pieces, self.prompts.encode(request.recording), continues)

    def _piece(self, before: list[int], part: str) -> PieceText:
        ids = self.tokenizer.encode(part)
        return PieceText((*before, *ids), LEAST_PER_TOKEN * len(ids), MOST_PER_TOKEN * len(ids))

    def _before(self, request: Request) -> tuple[list[int], bool]:
        """Ids before the text, and whether the model hears the recording's tokens too."""
        instruct = request.instruct if (request.instruct or "").strip() else None
        transcript = request.recording.transcript.strip().replace("<|", "")
        continues = request.mode == Mode.ZERO_SHOT and instruct is None and bool(transcript)
        told = catalogue.prompt_text(transcript if continues else "", instruct)
        return self.tokenizer.encode(told), continues
