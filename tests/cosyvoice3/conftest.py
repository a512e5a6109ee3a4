"""What the engine's tests share: one thread for networks this small, and a tiny model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from synth.cosyvoice3 import Engine, Recording, Request, Settings, tiny
from synth.cosyvoice3.outlet import Item

GOLDEN = Path(__file__).parent / "golden"
MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write(folder)
    return folder


@pytest.fixture
def engine(model: Path) -> Iterator[MakeEngine]:
    """Engines on the tiny model, three Euler steps instead of ten unless told otherwise."""
    made: list[Engine] = []

    def make(*, steps: int = 3, **settings: object) -> Engine:
        built = Engine.load(model, Settings(**{"length": 1024, "device": "cpu", **settings}))
        flow = built.core.runner.networks.flow
        flow.dims = dataclasses.replace(flow.dims, steps=steps)
        made.append(built)
        return built

    yield make
    for one in made:
        one.close()


def recording(seconds: float = 1.2, seed: int = 0, transcript: str = "希望你") -> Recording:
    """Noise with a pitch in it: what a model of noise takes for a voice."""
    at = np.arange(int(seconds * 24_000)) / 24_000
    noise = np.random.default_rng(seed).standard_normal(len(at))
    wave = 0.2 * np.sin(2 * np.pi * (120 + 40 * seed) * at) + 0.05 * noise
    return Recording(wave.astype(np.float32), 24_000, transcript)


class Listener:
    """A sink that keeps what it gets, for engines that are stepped by hand.

    ``tokens`` bounds the speech tokens of each piece, to keep a test short.
    """

    def __init__(
        self, engine: Engine, request: Request, tokens: tuple[int, int] | None = None
    ) -> None:
        self.items: list[Item] = []
        prepared = engine.frontend.prepare(request)
        if tokens:
            least, most = tokens
            pieces = (dataclasses.replace(p, least=least, most=most) for p in prepared.pieces)
            prepared = dataclasses.replace(prepared, pieces=tuple(pieces))
        self.number = engine.submit(request, prepared, self.items.append)

    @property
    def sound(self) -> np.ndarray:
        """What came, once it ended well."""
        assert self.items[-1] is None, self.items[-1]
        return np.concatenate(self.items[:-1])

    @property
    def error(self) -> BaseException:
        """The one thing that came, if it is an error."""
        assert isinstance(self.items[-1], BaseException)
        return self.items[-1]


def run(engine: Engine, *requests: Request) -> list[Listener]:
    """Step an engine by hand until it has nothing left to do."""
    listeners = [Listener(engine, request) for request in requests]
    while engine.step():
        pass
    return listeners
