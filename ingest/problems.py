"""A refusal at a door: its code, and the document of RFC 9457 it becomes.

Knows statuses, headers and the languages we answer in. Refuses to know when a refusal
is due, and never repeats what a user sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ingest.sentence import Language
from ingest.sentences import SENTENCES

MEDIA_TYPE = "application/problem+json"
TUS_VERSION = "1.0.0"


class Problem(Exception):
    """A request is refused; a door turns this into its answer.

    `facts` fill the sentence; `errors` tell, for wrong fields, where each is and what it should be;
    `retry_after` in seconds becomes a header; `rates` are headers that tell of a quota.
    """

    def __init__(
        self,
        code: str,
        *,
        errors: tuple[Mapping[str, str], ...] = (),
        retry_after: float | None = None,
        rates: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(code)
        self.rates = dict(rates or {})
        self.code = code
        self.facts = facts
        self.errors = errors
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return SENTENCES[self.code].status

    def told(self, language: Language) -> str:
        """The sentence for the user."""
        return SENTENCES[self.code].told(language, self.facts)

    def document(self, language: Language) -> dict[str, Any]:
        """The problem details of RFC 9457, with `code` and, where fields are wrong, `errors`."""
        document: dict[str, Any] = {
            "type": f"urn:voxrelay:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.told(language),
            "code": self.code,
        }
        if self.errors:
            document["errors"] = [dict(error) for error in self.errors]
        return document

    def headers(self) -> dict[str, str]:
        """What goes into the answer's head beside the document."""
        if self.code == "range_unsatisfiable":
            return {"content-range": f"bytes */{self.facts['size']}"}
        if self.code == "offset_mismatch":
            return {"upload-offset": str(self.facts["offset"])}
        if self.code == "tus_version_unknown":
            return {"tus-version": TUS_VERSION}
        if self.status in (408, 413):  # the rest of the body is still on its way
            return {"connection": "close"}
        if self.status == 401:
            known = self.code == "token_required"
            return {"www-authenticate": "Bearer" if known else 'Bearer error="invalid_token"'}
        if self.retry_after is None:
            return {}
        return {"retry-after": str(math.ceil(max(1.0, self.retry_after))), **self.rates}


def language_of(accept: str | None, default: Language = "zh") -> Language:
    """The first of our languages in an Accept-Language header by its weight, else `default`."""
    best: tuple[float, Language] | None = None
    for part in (accept or "").lower().split(","):
        tag, _, weight = part.strip().partition(";q=")
        primary = tag.split("-")[0]
        if primary not in ("zh", "en"):
            continue
        try:
            q = float(weight) if weight else 1.0
        except ValueError:
            continue
        if q > 0 and (best is None or q > best[0]):
            best = (q, "zh" if primary == "zh" else "en")
    return best[1] if best else default
