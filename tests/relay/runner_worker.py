"""A process of its own that runs the Runner on Kafka: `python -m tests.relay.runner_worker`."""

import asyncio
import random
import signal
import sys

from relay.log.kafka import KafkaLog, Timing
from relay.runner import Limits, Runner
from relay.settings import Settings
from schemas.events import PromptUploaded
from tests.relay.stages import Approving, Keys

TIMING = Timing(session=6.0, heartbeat=0.5, metadata=1.0, request=4.0, commit=10.0)


async def slowly(event: PromptUploaded) -> None:
    """Most work is quick, some is not, so that answers come out of order."""
    await asyncio.sleep(1.0 if random.random() < 0.02 else random.uniform(0.001, 0.03))


async def work(bootstrap: str) -> None:
    log = KafkaLog(Settings(log=f"kafka://{bootstrap}"), TIMING)
    runner = Runner(Approving(slowly), log, Keys(), Limits(in_flight=16, waiting=64, poll=0.1))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runner.stop)
    print("started", flush=True)
    await runner.run()
    await log.close()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
