"""`voxrelay doctor`, said line by line as it is found, or as one JSON document.

Knows how findings are printed and when the command fails. Refuses to know what is looked at.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from relay.settings import Settings
from voxrelay.doctor.examine import examine
from voxrelay.doctor.finding import Finding, Level


async def doctor(settings: Settings, url: str | None, *, as_json: bool) -> int:
    """Examine and tell; the exit status, 1 where something is bad."""
    found: list[Finding] = []
    async for finding in examine(settings, url):
        found.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], ensure_ascii=False))
    else:
        print(_sum(found))
    return int(any(finding.level is Level.BAD for finding in found))


def _line(finding: Finding) -> str:
    line = f"{finding.level:<9}{finding.part:<17}{finding.says}"
    return f"{line}\n{'':<26}{finding.do}" if finding.do else line


def _sum(found: list[Finding]) -> str:
    counts = Counter(finding.level for finding in found)
    return ", ".join(f"{counts[level]} {level}" for level in Level if counts[level])
