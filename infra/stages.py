"""The four stages of the cluster, one process each, as servers that start, answer and end.

Knows how a stage is started and asked whether it is ready. Refuses to know what it does.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.servers.process import HOST, Server

ROOT = Path(__file__).parents[1]
STAGES = ("ingest", "moderation", "synth", "delivery")


class StageProcess(Server):
    """One stage; ready when its `/readyz` says so, which is after its model is loaded.

    `synth-2` is the name of another process of `synth`.
    """

    ready_within_s = 300.0
    ends_within_s = 60.0  # it finishes what it has begun to speak

    def __init__(
        self, name: str, folder: Path, environment: Mapping[str, str], port: int | None = None
    ) -> None:
        self.name, self.stage = name, name.partition("-")[0]
        super().__init__(folder, port)
        self._environment = dict(environment)

    @property
    def url(self) -> str:
        """Where it listens: the gateway's doors, or the probes of another stage."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "voxrelay", "run", self.stage]

    def environment(self) -> Mapping[str, str]:
        if self.stage == "ingest":
            door = {"VOXRELAY_INGEST_HOST": HOST, "VOXRELAY_INGEST_PORT": str(self.port)}
        else:
            door = {"VOXRELAY_METRICS_PORT": str(self.port)}
        return {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self._environment, **door}

    def answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/readyz", timeout=2) as reply:
                return bool(reply.status == 200)
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
            return False
        except OSError:
            return False


def stage_processes(
    folder: Path, environment: Mapping[str, str], port: int | None = None
) -> dict[str, StageProcess]:
    """One process per stage, not started; `port` is the gateway's, logs lie in `folder`."""
    return {
        name: StageProcess(name, folder, environment, port if name == "ingest" else None)
        for name in STAGES
    }
