"""A reader of the topics that knows nothing of VoxRelay but its published schemas.

pip install aiokafka jsonschema-rs
voxrelay topics schema > schemas.json
python consumer.py localhost:9092 schemas.json prompt-rejected speech-delivered
"""

import asyncio
import json
import sys

import jsonschema_rs
from aiokafka import AIOKafkaConsumer


async def main(broker: str, schemas: str, *topics: str) -> None:
    with open(schemas) as file:  # noqa: ASYNC230 - once, before anything else
        known = {type_: jsonschema_rs.validator_for(s) for type_, s in json.load(file).items()}
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=broker,
        group_id="my-reader",
        auto_offset_reset="earliest",
        isolation_level="read_committed",  # what a stage gave up was never said
    )
    async with consumer:
        async for record in consumer:
            envelope = {name: value.decode() for name, value in record.headers}
            event = json.loads(record.value)
            known[envelope["ce_type"]].validate(event)
            print(json.dumps({"job": record.key.decode(), **envelope, "data": event}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
