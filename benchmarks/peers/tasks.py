"""The chain as Celery tasks, and how Celery is set: what a worker imports.

Knows Celery. Refuses to know what is in a payload.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Signature, chain

Payload = dict[str, Any]
DELIVERED = "peers-delivered"
"""The queue at the end; no worker listens there, the benchmark reads it."""
CONFIRMED = "PEERS_CONFIRMED"
"""Variable of a worker: whether what a task sends on waits for the broker's word."""

app = Celery("peers")  # its broker is in CELERY_BROKER_URL
app.conf.update(
    # Acknowledged after the task and given back when its process dies: at least once.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    # What Celery's guide to optimizing says of many short tasks.
    worker_prefetch_multiplier=64,
    broker_transport_options={"confirm_publish": os.environ.get(CONFIRMED) == "yes"},
    broker_connection_retry_on_startup=True,
)


@app.task
def moderation(payload: Payload) -> Payload:
    """Pass it on."""
    return payload


@app.task
def synth(payload: Payload) -> Payload:
    """Pass it on."""
    return payload


@app.task
def delivery(payload: Payload) -> Payload:
    """Pass it on."""
    return payload


@app.task
def delivered(payload: Payload) -> None:
    """Stands for the end; never run."""


def whole_chain(payload: Payload) -> Signature:
    """Three tasks one after another, and the end, which can be read."""
    last = delivered.s().set(queue=DELIVERED)
    return chain(moderation.s(payload), synth.s(), delivery.s(), last)
