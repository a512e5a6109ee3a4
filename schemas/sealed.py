"""Personal fields: which they are, and what they look like while nobody may read them.

Knows the mark on a field and the form of its sealed value. Refuses to know keys: sealing itself
lives in `relay.sealing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Personal:
    """Mark of a field that leaves the process only sealed under its person's key."""


Sealed = Annotated[T, Personal()]
"""`text: Sealed[str]`: plain for a handler, `{"sealed": "<base64>"}` in the log."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What stands where a personal field was, once its person's key has been destroyed."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What stands where a personal field is, for a reader that does not open any."""


@cache
def sealed_fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the top-level fields of `model` that are marked `Sealed`."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, Personal) for mark in field.metadata)
    )


def sealed_form(ciphertext: str) -> dict[str, str]:
    """How a sealed value is written; an object, so that no plain string is taken for one."""
    return {"sealed": ciphertext}


def ciphertext_of(value: Any) -> str | None:
    """The base64 ciphertext in a sealed value, or None where `value` is not one."""
    if isinstance(value, dict) and value.keys() == {"sealed"} and isinstance(value["sealed"], str):
        return value["sealed"]
    return None
