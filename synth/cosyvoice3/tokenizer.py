"""Text to the ids of the language model: Qwen2's byte pairs and the marks of CosyVoice3.

Reads the three files beside the weights. Knows no text but the one it is given.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import tiktoken

from . import marks
from .errors import BadModel

# How Qwen2 cuts text before merging bytes.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Qwen2's own control words: the marks are numbered after them."""


class Tokenizer:
    """The tokenizer in a folder ``CosyVoice-BlankEN``."""

    def __init__(self, folder: Path) -> None:
        ranks = _ranks(_json(folder / "vocab.json"))
        _check_merges(folder / "merges.txt", ranks)
        special = _added(_json(folder / "tokenizer_config.json"))
        after = max([*ranks.values(), *special.values()]) + 1
        for mark in marks.VOCABULARY:
            if mark not in special:
                special[mark] = after
                after += 1
        self.size = after
        self._encoding = tiktoken.Encoding(
            "cosyvoice3", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special
        )

    def check_rows(self, rows: int) -> None:
        """BadModel if a language model of so many rows of text has none for some id."""
        if self.size > rows:
            raise BadModel(f"the tokenizer has {self.size} ids, the language model {rows} rows")

    def encode(self, text: str) -> list[int]:
        """Ids of a text; marks and control words count as one each."""
        return self._encoding.encode(unicodedata.normalize("NFC", text), allowed_special="all")

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        return self._encoding.decode(ids)


def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in ``vocab.json``: printable ones for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    letters = {chr(b): b for b in printable}
    return letters | {chr(256 + i): b for i, b in enumerate(rest)}


def _ranks(vocabulary: dict[str, int]) -> dict[bytes, int]:
    letters = byte_letters()
    try:
        return {bytes(letters[c] for c in word): int(i) for word, i in vocabulary.items()}
    except (KeyError, TypeError, ValueError) as err:
        raise BadModel("vocab.json is not a byte-level vocabulary") from err


def _check_merges(path: Path, ranks: dict[bytes, int]) -> None:
    """Ranks serve as merges only while words are numbered in the order they are merged."""
    letters = byte_letters()
    last = 255
    for line in _text(path).splitlines():
        if line.startswith("#version") or not line.strip():
            continue
        word = bytes(letters.get(c, 0) for c in line.replace(" ", ""))
        if ranks.get(word, -1) <= last:
            raise BadModel("merges.txt and vocab.json number their words differently")
        last = ranks[word]


def _added(config: dict[str, Any]) -> dict[str, int]:
    """Ids of the control words; without one of them every mark would have another's id."""
    try:
        entries = config["added_tokens_decoder"]
        added = {str(entry["content"]): int(i) for i, entry in entries.items()}
    except (AttributeError, LookupError, TypeError, ValueError) as err:
        raise BadModel("tokenizer_config.json names no added_tokens_decoder") from err
    lacking = [word for word in CONTROL if word not in added]
    if lacking:
        raise BadModel(f"tokenizer_config.json does not number {', '.join(lacking)}")
    return added


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError as err:
        raise BadModel(f"{path.name} is not JSON: {err}") from err
    if not isinstance(found, dict):
        raise BadModel(f"{path.name} is not a JSON object")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as err:
        raise BadModel(f"{path.parent} has no {path.name}") from err
