"""WeChat's API as everybody here asks it: its settings, its form of answers, its errors' numbers.

Knows that a failure comes with status 200 and that JSON is called text/plain. No address of a
request is ever logged: some bear the AppSecret or a token. Refuses to know what is asked.
"""

from __future__ import annotations

from typing import Any, Literal

import httpx
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PATIENCE = 5.0
BUSY = -1


class WeChatSettings(BaseSettings):
    """The mini-program (`VOXRELAY_WECHAT_*`); without an AppID nothing is asked of WeChat."""

    model_config = SettingsConfigDict(
        env_prefix="VOXRELAY_WECHAT_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    app: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9]{1,64}$",
        description="AppID of the mini-program whose users sign in here.",
    )
    secret: SecretStr | None = Field(default=None, description="Its AppSecret.")
    api: str = Field(
        default="https://api.weixin.qq.com",
        pattern=r"^https?://",
        description="Where WeChat's API is reached; another one for a relay on the way.",
    )
    template: str | None = Field(
        default=None,
        description="Template of the subscribe message that says a job has ended; none is sent "
        "without.",
    )
    fields: str = Field(
        default="thing1=what,phrase2=state,time3=ended",
        description="The template's fields, and what stands in each: `what`, `state`, `ended`, "
        "`job`, `note`.",
    )
    page: str | None = Field(
        default=None, description="Page that the message opens; `{job}` is the job's id."
    )
    version: Literal["formal", "trial", "developer"] = Field(
        default="formal", description="Version of the mini-program that it opens."
    )

    @model_validator(mode="after")
    def _whole(self) -> WeChatSettings:
        if (self.app is None) != (self.secret is None):
            raise ValueError("VOXRELAY_WECHAT_APP and VOXRELAY_WECHAT_SECRET go together")
        if self.template is not None and self.app is None:
            raise ValueError("VOXRELAY_WECHAT_TEMPLATE needs VOXRELAY_WECHAT_APP")
        return self

    @property
    def messages(self) -> bool:
        """Whether subscribe messages are sent."""
        return self.template is not None


class Away(Exception):
    """WeChat did not answer, or not as WeChat does; says why in a word that may be logged."""


class Api:
    """Asks WeChat."""

    def __init__(self, settings: WeChatSettings) -> None:
        self._api = settings.api.rstrip("/")
        self._http = httpx.AsyncClient(timeout=PATIENCE, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The answer, whatever it says; `Away` where it is none."""
        try:
            answer = await self._http.request(method, f"{self._api}{path}", **more)
            said = answer.json() if answer.is_success else None
        except httpx.HTTPError as wrong:
            raise Away(type(wrong).__name__) from None
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise Away(f"status {answer.status_code}")
        return said


def errcode(said: dict[str, Any]) -> int:
    """The number of the error in an answer; 0 where there is none. WeChat spells some as text."""
    try:
        return int(said.get("errcode", 0))
    except (TypeError, ValueError):
        return BUSY
