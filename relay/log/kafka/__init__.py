"""The log of a cluster: Apache Kafka, read committed, one fenced writer per partition.

Knows the `Log` port and aiokafka. Refuses to know events and stages.
"""

from relay.log.kafka.log import KafkaLog
from relay.log.kafka.timing import Timing

__all__ = ["KafkaLog", "Timing"]
