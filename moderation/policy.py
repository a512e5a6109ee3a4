"""The policy file: rules by kind, read, checked, and named by a digest of all that it says.

Knows the format and its word lists. Refuses to judge: what a rule means is `decide`'s to say.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from moderation.words import Lexicon
from relay.errors import Misconfigured

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]


class Action(StrEnum):
    """What a rule that fires does; the strictest of all that fired decides."""

    NOTE = "note"
    """Let it through, but say in the event that the rule fired."""
    HOLD = "hold"
    REJECT = "reject"


class Where(StrEnum):
    """Which part of a prompt a rule looks at."""

    TEXT = "text"
    INSTRUCT = "instruct"
    RECORDING = "recording"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(_Strict):
    """What the user is told instead of our own sentence."""

    zh: str
    en: str


class _Rule(_Strict):
    id: Id
    action: Action
    code: Id | None = None
    """Given to programs instead of the kind's own code."""
    message: Message | None = None


class Quiet(_Rule):
    """Fires where the loud frames of the recording stay below `below` dB of full scale."""

    kind: Literal["quiet"]
    below: float = Field(le=0)


class Steady(_Rule):
    """Fires where less than `below` dB lie between loud and quiet frames: nobody speaks so."""

    kind: Literal["steady"]
    below: float = Field(ge=0)


class Clipped(_Rule):
    """Fires where more than this share of the samples stands at full scale."""

    kind: Literal["clipped"]
    above: float = Field(ge=0, le=1)


class NoSpeech(_Rule):
    """Fires where no words came out, or the ear both suspects silence and is unsure of them."""

    kind: Literal["no_speech"]
    above: float = Field(ge=0, le=1)
    unsure_below: float = Field(le=0)


class Unclear(_Rule):
    """Fires where the ear repeats itself, or is very unsure of what it heard."""

    kind: Literal["unclear"]
    repetition_above: float = Field(gt=1)
    unsure_below: float = Field(le=0)


class Language(_Rule):
    """Fires where the language is none of `allowed` (empty: any), or hardly likely."""

    kind: Literal["language"]
    allowed: tuple[str, ...] = ()
    unlikely_below: float = Field(default=0.0, ge=0, le=1)


class Words(_Rule):
    """Fires where a word of the list is found; `files` add words, one a line, `#` comments."""

    kind: Literal["words"]
    where: tuple[Where, ...] = tuple(Where)
    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    homophones: Action | Literal["off"] = "off"
    """What happens where only another word of the same sound (in Mandarin) is found."""
    homophones_from: int = Field(default=2, ge=2)
    """Shortest word, in characters, that is matched by sound."""

    @field_validator("words")
    @classmethod
    def _sayable(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for number, word in enumerate(words, start=1):
            if not any(char.isalnum() for char in word):
                raise ValueError(f"word {number} has neither letter nor digit: it never matches")
        return words


Rule = Annotated[
    Quiet | Steady | Clipped | NoSpeech | Unclear | Language | Words, Field(discriminator="kind")
]
SoundRule = Quiet | Steady | Clipped
"""Rules that need no ear."""


class Rules(_Strict):
    """A policy as its file says it, with every word list in place."""

    format: Literal[1]
    name: Id
    version: str = Field(min_length=1, max_length=64)
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _ids_once(self) -> Rules:
        ids = [rule.id for rule in self.rules]
        twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if twice:
            raise ValueError(f"two rules are called {', '.join(twice)}")
        return self


@dataclass(frozen=True)
class Policy:
    """Rules ready to be applied, and the SHA-256 of their canonical form."""

    rules: tuple[Rule, ...]
    name: str
    digest: str
    document: bytes
    """The canonical form: JSON with every word list in place; reads back as the same policy."""
    lexicon: Lexicon
    """The words of every rule of words, by the rule's id."""


def policy_key(digest: str) -> str:
    """Where the store keeps the policy of this digest; it is no person's."""
    return f"policy/{UUID(int=0)}/{digest}"


def load_policy(path: Path | None = None) -> Policy:
    """The policy in the TOML file `path`, else our default; `Misconfigured` says what is wrong."""
    if path is None:
        shipped = files("moderation") / "policies" / "default.toml"
        return read_policy(shipped.read_text(encoding="utf-8"), Path())
    try:
        return read_policy(path.read_text(encoding="utf-8"), path.parent)
    except (OSError, UnicodeDecodeError) as wrong:
        raise Misconfigured(f"the policy {path} cannot be read: {wrong}") from wrong
    except Misconfigured as wrong:
        raise Misconfigured(f"the policy {path}: {wrong}") from wrong


def read_policy(text: str, folder: Path) -> Policy:
    """The policy that TOML `text` spells; word files are looked for in `folder`."""
    try:
        document = tomllib.loads(text)
        rules = document.get("rules")
        if isinstance(rules, list):
            document["rules"] = [_with_files(rule, folder) for rule in rules]
        return compile_policy(Rules.model_validate(document))
    except tomllib.TOMLDecodeError as wrong:
        raise Misconfigured(f"not TOML: {wrong}") from wrong
    except ValidationError as wrong:
        raise Misconfigured(_told(wrong)) from wrong


def restore_policy(document: bytes) -> Policy:
    """The policy whose canonical form was kept; for judging again by what was in force then."""
    return compile_policy(Rules.model_validate_json(document), document)


def compile_policy(rules: Rules, document: bytes | None = None) -> Policy:
    """`rules` with their automata; the digest is that of the `document` they were kept as."""
    document = document or rules.model_dump_json(exclude_none=True).encode()
    return Policy(
        rules=rules.rules,
        name=f"{rules.name}/{rules.version}",
        digest=sha256(document).hexdigest(),
        document=document,
        lexicon=Lexicon(
            {
                rule.id: (rule.words, rule.homophones_from)
                for rule in rules.rules
                if isinstance(rule, Words)
            }
        ),
    )


T = TypeVar("T")


def _with_files(rule: T, folder: Path) -> T | dict[str, Any]:
    """A words rule with the lines of its files among its words, sorted; others as they are."""
    if not isinstance(rule, dict) or not isinstance(rule.get("files"), list):
        return rule
    words = list(rule.get("words", []))
    for name in rule["files"]:
        try:
            lines = (folder / str(name)).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as wrong:
            raise Misconfigured(f"word list {name!r} cannot be read: {wrong}") from wrong
        stripped = (line.partition("#")[0].strip() for line in lines)
        words.extend(line for line in stripped if line)
    return {**rule, "words": sorted(set(words)), "files": []}


def _told(wrong: ValidationError) -> str:
    """Every mistake by its place in the file, without the words of the lists."""
    lines = []
    for error in wrong.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join(str(part) for part in error["loc"])
        lines.append(f"{place}: {error['msg']}" if place else error["msg"])
    return "; ".join(lines)
