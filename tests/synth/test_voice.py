"""What every request is checked for before any engine sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay.errors import BadRecord
from synth.voice import Mode, Refusal, check, refuse
from tests.synth.conftest import request


def silence(seconds: float, rate: int = 16_000) -> dict[str, Any]:
    return {"prompt": np.zeros(int(seconds * rate), np.float32), "prompt_rate": rate}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mode": "sing"}, Refusal.UNKNOWN_MODE),
        ({"mode": Mode.INSTRUCT}, Refusal.INSTRUCT_MISSING),
        ({"mode": Mode.INSTRUCT, "instruct": "  "}, Refusal.INSTRUCT_MISSING),
        ({"speed": 0.4}, Refusal.SPEED_OUT_OF_RANGE),
        ({"speed": 2.1}, Refusal.SPEED_OUT_OF_RANGE),
        ({"speed": float("nan")}, Refusal.SPEED_OUT_OF_RANGE),
        (silence(0.99), Refusal.PROMPT_TOO_SHORT),
        (silence(0), Refusal.PROMPT_TOO_SHORT),
        (silence(30.01), Refusal.PROMPT_TOO_LONG),
        ({"text": " 。…"}, Refusal.TEXT_EMPTY),
    ],
)
def test_refuses(fields: dict[str, Any], code: Refusal) -> None:
    given = {"text": "你好", **fields}
    with pytest.raises(BadRecord) as refused:
        check(request(given.pop("text"), **given))
    assert refused.value.code == code
    assert refused.value.message.endswith(".")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": Mode.CROSS_LINGUAL},
        {"mode": Mode.INSTRUCT, "instruct": "请用广东话表达。"},
        {"speed": 0.5},
        {"speed": 2.0},
        silence(1),
        silence(30),
    ],
)
def test_lets_through(fields: dict[str, Any]) -> None:
    check(request("你好", **fields))


def test_every_refusal_has_a_sentence() -> None:
    for code in Refusal:
        assert len(refuse(code).message) > 20
