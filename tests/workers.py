"""Which worker runs which tests, when there are several: files, as with `--dist loadfile`.

Knows what is dear to set up, and what takes long. Refuses to know what is tested.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

TOGETHER = {
    "a relay on each set-up, with real models": ("tests/journeys/",),
    "a house hurt at every point": ("tests/faults/test_faults.py", "tests/faults/test_checks.py"),
    "a relay that has lived": (
        "tests/analytics/test_consumer.py",
        "tests/analytics/test_counting.py",
        "tests/analytics/test_docs.py",
        "tests/analytics/test_doors.py",
        "tests/analytics/test_export.py",
        "tests/audit/test_archive_lived.py",
        "tests/audit/test_bundle.py",
        "tests/audit/test_commands.py",
        "tests/audit/test_replay.py",
        "tests/audit/test_sandbox.py",
        "tests/audit/test_trace.py",
        "tests/audit/test_trail.py",
    ),
    "a broker to be killed": (
        "tests/relay/test_kafka_brokers.py",
        "tests/relay/test_kafka_runner.py",
    ),
}
"""What is set up once for several files: one worker runs them all, or it is set up in each."""

LONGEST = (
    "a relay on each set-up, with real models",
    "a house hurt at every point",
    "a relay that has lived",
    "tests/relay/test_log_contract.py",
    "tests/ingest/test_openapi.py",
    "tests/faults/test_gateways.py",
    "tests/voxrelay/test_commands.py",
    "tests/benchmarks/test_cosyvoice3_plan.py",
    "tests/faults/test_world.py",
    "a broker to be killed",
    "tests/clients/test_miniprogram.py",
    "tests/infra/test_cluster.py",
    "tests/bridge/test_journey.py",
    "tests/hostile/test_uploads.py",
    "tests/relay/test_long_work.py",
    "tests/relay/test_outbox_killed.py",
    "tests/benchmarks/test_soak.py",
    "tests/infra/test_servers.py",
    "tests/cosyvoice3/test_engine.py",
    "tests/audit/test_erasure_cluster.py",
    "tests/cosyvoice3/test_distribution.py",
)
"""What is begun first, that nobody works alone in the end; the others follow by their size."""


def unit(test: str) -> str:
    """What a test is run with: its file, or the name of several."""
    for name, paths in TOGETHER.items():
        if test.startswith(paths):
            return name
    return test.partition("::")[0]


def next_of(units: list[str]) -> str:
    """Which of those that wait is begun now."""
    return next((name for name in LONGEST if name in units), units[0])


class Shifts(LoadFileScheduling):
    """Units by their length, not by the number of their tests alone."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(next_of(list(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Shifts | None:
    """Ours for `--dist loadfile`, the plugin's own for all else."""
    return Shifts(config, log) if config.getvalue("dist") == "loadfile" else None
