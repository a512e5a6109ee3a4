"""The reference of every setting, written from the settings themselves.

    python -m voxrelay.configuration > docs/configuration.md

Knows which classes of settings there are. Refuses to know any value.
"""

from __future__ import annotations

import enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from analytics.settings import AnalyticsSettings
from audit.settings import AuditSettings
from delivery.settings import DeliverySettings
from ingest.settings import IngestSettings
from moderation.settings import ModerationSettings
from relay.bridge.settings import BridgeSettings
from relay.settings import Settings
from relay.wechat import WeChatSettings
from synth.cosyvoice3_voice import CosyVoice3Settings
from synth.settings import SynthSettings

PARTS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("Every process", Settings),
    ("ingest", IngestSettings),
    ("ingest and notify, where users come from WeChat", WeChatSettings),
    ("moderation", ModerationSettings),
    ("synth", SynthSettings),
    ("synth, where the voice is cosyvoice3", CosyVoice3Settings),
    ("delivery", DeliverySettings),
    ("audit", AuditSettings),
    ("analytics", AnalyticsSettings),
    ("bridge", BridgeSettings),
)

HEAD = """# Configuration

Settings are environment variables, read once when a process starts. A wrong one ends it there,
with the variable's name. Written from the settings themselves: `python -m voxrelay.configuration`.
"""


def reference() -> str:
    """The whole page."""
    return HEAD + "".join(_part(title, settings) for title, settings in PARTS)


def names() -> frozenset[str]:
    """Every variable there is."""
    return frozenset(_variable(s, name) for _, s in PARTS for name in _fields(s))


def _part(title: str, settings: type[BaseSettings]) -> str:
    rows = "".join(_row(settings, name, field) for name, field in _fields(settings).items())
    return f"\n## {title}\n\n| variable | default | |\n|---|---|---|\n{rows}"


def _fields(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """Those that are read: the bridge has the form of every process's settings, not all of them."""
    shown = getattr(settings, "SHOWN", settings.model_fields)
    return {name: field for name, field in settings.model_fields.items() if name in shown}


def _row(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    said = " ".join((field.description or "").split())
    values = _values(field.annotation)
    more = f"{said} One of {values}." if values else said
    return f"| `{_variable(settings, name)}` | {_default(field)} | {more.strip()} |\n"


def _variable(settings: type[BaseSettings], name: str) -> str:
    return f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=False)
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "none"
    if isinstance(default, SecretStr):
        return "a secret"
    return f"`{default.value if isinstance(default, enum.Enum) else default}`"


def _values(annotation: Any) -> str:
    """The values a closed choice allows, or nothing."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        rest = [part for part in get_args(annotation) if part is not NoneType]
        return _values(rest[0]) if len(rest) == 1 else ""
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    return ""


if __name__ == "__main__":
    print(reference(), end="")
