"""What a sentence is that a door answers with: a status, and words in each language.

Knows the form. Refuses to know which there are (`ingest.sentences`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """The status a code is answered with, and what its reader can do, in both languages."""

    status: int
    en: str
    zh: str

    def told(self, language: Language, facts: Mapping[str, Any]) -> str:
        """The sentence, with `facts` in their places."""
        return (self.zh if language == "zh" else self.en).format_map(_Facts(facts))


class _Facts(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "?"


def said(status: int, en: str, zh: str) -> Sentence:
    """A sentence."""
    return Sentence(status, en, zh)
