"""The client of VoxRelay: send a text and a recording, follow the job, fetch the speech.

Knows the doors of a gateway and nothing behind them. `Client` blocks, `AsyncClient` awaits; both
have the same methods.
"""

from voxrelay_client.aio import AsyncClient
from voxrelay_client.blocking import Client
from voxrelay_client.errors import NotSpoken, Refused, Unreachable, VoxRelayError
from voxrelay_client.models import (
    Audio,
    Event,
    Job,
    Page,
    Reason,
    Recording,
    Share,
    Speech,
    Step,
    Voice,
)

__all__ = [
    "AsyncClient",
    "Audio",
    "Client",
    "Event",
    "Job",
    "NotSpoken",
    "Page",
    "Reason",
    "Recording",
    "Refused",
    "Share",
    "Speech",
    "Step",
    "Unreachable",
    "Voice",
    "VoxRelayError",
]
