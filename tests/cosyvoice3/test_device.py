"""What a GPU would meet, as far as it can be met without one."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from synth.cosyvoice3 import Settings, checkpoint, device, tiny
from synth.cosyvoice3.budget import Limits
from synth.cosyvoice3.checkpoint import Networks, Precision
from synth.cosyvoice3.device import Replay
from synth.cosyvoice3.flow import Flow, grid
from synth.cosyvoice3.hift import HiFT
from synth.cosyvoice3.lm import SpeechLM
from synth.cosyvoice3.prompt import Prompt
from synth.cosyvoice3.runner import Runner, Speak, Start
from tests.cosyvoice3.conftest import MakeEngine
from tests.cosyvoice3.recorded import CUDA, Recorder, fake_gpu

TABLES = 2
"""What the first speech of all brings to the device once and for good."""
STARTS = [
    Start(i, tuple(range(i, 20 + 3 * i)), i, i % 2 > 0, least=4 + i, most=12 + 2 * i, seed=i)
    for i in range(4)
]


def prompt(count: int = 25) -> Prompt:
    chance = torch.Generator().manual_seed(count)
    return Prompt(
        torch.randint(0, 6561, (count,), generator=chance),
        torch.randn(2 * count, 80, generator=chance),
        torch.randn(192, generator=chance),
    )


def test_a_recorded_step_decodes_what_running_it_does(model: Path) -> None:
    cpu, limits, record = torch.device("cpu"), Limits(4, 512, 10_000), Recorder()
    networks = checkpoint.load(model, Precision("float32"), cpu, limits.length)
    plain, again = Runner(networks, limits, cpu), Runner(networks, limits, cpu, record)
    for runner in (plain, again):
        for voice in range(4):
            runner.hold(voice, prompt(25 + voice))
        runner.start(STARTS)
    for burst in (2, 3):
        want = plain.decode(4, 256, burst).result()
        assert again.decode(4, 256, burst).result() == want
    assert len({tuple(row) for row in want}) > 1
    for runner in (plain, again):  # a slot is filled anew between two replays
        runner.start([Start(2, (5, 6, 7), 0, True, least=2, most=9, seed=77)])
    assert again.decode(4, 256, 3).result() == plain.decode(4, 256, 3).result()
    (tape,) = record.tapes
    assert tape.replays == 2 + 3 + 3 - 2


def test_a_shape_is_recorded_when_it_comes_again() -> None:
    done: list[tuple[str, int]] = []

    def record(work: object) -> object:
        done.append(("recorded", 0))
        return lambda: done.append(("replayed", 0))

    step = Replay(lambda size: done.append(("run", size)), record)
    for size in (1, 2, 1, 1):
        step(size)
    assert done == [("run", 1), ("run", 2), ("recorded", 0), ("replayed", 0), ("replayed", 0)]


@pytest.fixture
def no_cuda_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch would do with a driver is left out; the devices of tensors are kept."""
    event = SimpleNamespace(record=lambda: None, query=lambda: True, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "Event", lambda: event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    plain = torch.empty
    # Another tensor: one that fake tensors know the value of would be sent in earnest.
    monkeypatch.setattr(Tensor, "pin_memory", lambda t: plain(t.shape, dtype=t.dtype))
    monkeypatch.setattr(
        torch, "empty", lambda *size, pin_memory=False, **more: plain(*size, **more)
    )


def on_gpu(networks: Networks, dtype: torch.dtype) -> Networks:
    """The networks as `checkpoint.load` leaves them, on a GPU that is not there."""
    noise = networks.flow.noise.to(CUDA)
    for network, kind in ((networks.lm, dtype), (networks.flow, dtype), (networks.hift, None)):
        move(network, kind)
    networks.flow.noise = noise
    return networks


def move(network: nn.Module, dtype: torch.dtype | None) -> None:
    """`network.to`, which fake tensors do not survive."""
    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = nn.Parameter(weight.detach().to(CUDA, dtype))
        for name, table in list(module._buffers.items()):
            if table is not None:
                module._buffers[name] = table.to(CUDA, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_host_waits_for_nothing(no_cuda_needed: None, dtype: torch.dtype) -> None:
    """One copy back for a burst, one for a batch of speech, and every device is the right one."""
    flow = Flow(replace(tiny.FLOW, steps=2, depth=1))
    networks = Networks(SpeechLM(replace(tiny.LM, layers=1), 512), flow, HiFT(tiny.HIFT))
    prompts = [prompt(25 + voice) for voice in range(4)]
    grid(2)  # the host's own numbers
    with fake_gpu() as watch:
        runner = Runner(on_gpu(networks, dtype), Limits(4, 512, 10_000), CUDA, lambda work: work)
        rows = [
            Speak(i, tuple(range(30 + 4 * i)), 0, stream=i > 1, final=i != 2, speed=1 + i / 4)
            for i in range(4)
        ]
        watch.waited = watch.fetched = 0  # bringing the weights
        for voice, features in enumerate(prompts):
            runner.hold(voice, features)
        runner.start(STARTS)
        assert (watch.waited, watch.fetched) == (0, 0)
        runner.speak(rows)
        assert (watch.waited, watch.fetched) == (TABLES, 1)
        watch.waited = watch.fetched = 0
        runner.hold(5, prompts[0])
        runner.decode(4, 256, 2)
        assert (watch.waited, watch.fetched) == (0, 1)
        runner.speak([Speak(5, tuple(range(7)), 0, stream=False, final=True)])
        assert (watch.waited, watch.fetched) == (0, 2)


def test_the_watch_sees_a_host_that_waits(no_cuda_needed: None) -> None:
    with fake_gpu() as watch, torch.inference_mode():
        there = torch.ones(3).to(CUDA, non_blocking=True)
        assert (watch.waited, watch.fetched) == (0, 0)
        there.cpu()
        torch.ones(3).to(CUDA)
        assert (watch.waited, watch.fetched) == (2, 1)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            there[0].item()


def test_decoding_goes_before_speech(no_cuda_needed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[torch.device, int]] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda *asked: made.append(asked))
    networks = Networks(SpeechLM(tiny.LM, 512), Flow(tiny.FLOW), HiFT(tiny.HIFT))
    with fake_gpu():
        Runner(on_gpu(networks, torch.float32), Limits(4, 512, 10_000), CUDA, lambda work: work)
    (_, decoding), (_, speaking) = made
    assert decoding < speaking  # the lower number goes first


def test_memory_that_this_process_holds_unused_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 4000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1000)
    assert device.free_bytes(CUDA) == 5000 + 3000
    assert Settings().bytes_free(CUDA) == int(0.9 * 8000)


def test_a_closed_engine_holds_no_memory(engine: MakeEngine) -> None:
    closed = engine()
    runner = closed.core.runner
    weights = weakref.ref(runner.networks.lm.head.weight), weakref.ref(runner.cache.data)
    gc.disable()
    try:
        closed.close()
        assert [held() for held in weights] == [None, None]
    finally:
        gc.enable()
    closed.close()  # a second time does no harm


def test_convolutions_are_exact_where_they_are_asked_to_be() -> None:
    before = torch.backends.cudnn.allow_tf32
    with device.convolving(exactly=True):
        assert torch.backends.cudnn.allow_tf32 is False
    with device.convolving(exactly=False):
        assert torch.backends.cudnn.allow_tf32 is True
    assert torch.backends.cudnn.allow_tf32 == before
