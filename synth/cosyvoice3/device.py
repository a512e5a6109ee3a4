"""What is asked of a device beside arithmetic, so that the host never waits without need.

Copies that wait for nothing, lanes of work that overlap, and steps recorded once and replayed. On
a CPU each of them is the plain thing. Knows torch's CUDA; refuses to know networks and requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Makes work over fixed memory into something that does the same, again and again."""

_NAP = 0.0002


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device; the host goes on at once."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # unpinned memory would be waited for


def upload(numbers: Sequence[int] | Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Whole numbers of the host on the device; the host goes on at once."""
    return send(torch.tensor(numbers, dtype=torch.long), device)


class Pending(Generic[T]):
    """A tensor on its way to the host, and what is to be made of it there."""

    def __init__(self, tensor: Tensor, make: Callable[[Tensor], T]) -> None:
        self._make = make
        self._event: torch.cuda.Event | None = None
        self._host = tensor
        if tensor.device.type == "cuda":
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    @property
    def ready(self) -> bool:
        """Whether ``result`` would not wait."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def within(self, seconds: float) -> bool:
        """Wait for it no longer than this; whether it is there."""
        end = time.perf_counter() + seconds
        while not self.ready and time.perf_counter() < end:
            time.sleep(_NAP)
        return self.ready

    def result(self) -> T:
        """What was made of it, as soon as it is there."""
        if self._event is not None:
            self._event.synchronize()
        return self._make(self._host)


class Lane:
    """Work that runs in order among itself and beside other lanes: a stream, or nothing at all.

    Memory that is taken inside a lane is used inside it alone: then it may be given back while
    the device still works with it.
    """

    def __init__(self, device: torch.device, *, first: bool = False) -> None:
        """``first``: its kernels go before those of other lanes that wait as they do."""
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            priority = -1 if first else 0
            self._stream = torch.cuda.Stream(device, priority)  # type: ignore[no-untyped-call]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Whatever is asked of the device inside goes into this lane."""
        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            yield


class Replay:
    """Work over fixed memory, recorded once for each shape and replayed from then on.

    The first time a shape comes it runs as it is, and libraries choose their kernels and take
    their workspace; the second time it is recorded. What was hundreds of launches is then one.
    """

    def __init__(self, work: Callable[..., None], record: Record | None) -> None:
        self._work, self._record = work, record
        self._seen: set[tuple[int, ...]] = set()
        self._recorded: dict[tuple[int, ...], Callable[[], None]] = {}

    def __call__(self, *shape: int) -> None:
        """Do the work for this shape."""
        if self._record is not None and shape in self._seen and shape not in self._recorded:
            self._recorded[shape] = self._record(lambda: self._work(*shape))
        self._seen.add(shape)
        replay = self._recorded.get(shape)
        if replay is None:
            self._work(*shape)
        else:
            replay()


def recorder(device: torch.device) -> Record | None:
    """CUDA graphs over one pool of memory, or None where there are none."""
    if device.type != "cuda":
        return None
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        lane = torch.cuda.current_stream(device)
        # Thread-local: what another thread asks of the device meanwhile is none of the graph's.
        with torch.cuda.graph(graph, pool, lane, capture_error_mode="thread_local"):
            work()
        return graph.replay

    return record


@contextmanager
def convolving(*, exactly: bool) -> Iterator[None]:
    """Float32 convolutions as such, or with inputs rounded to TF32, which a GPU does unasked."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = not exactly
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def settle(device: torch.device) -> None:
    """Wait until the device has done all it was asked: lanes begin after it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_bytes(device: torch.device) -> int:
    """What a GPU can still give: what nobody has, and what this process holds and does not use."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


def trim(device: torch.device) -> None:
    """Give back memory that nothing uses."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def is_device_fault(err: BaseException) -> bool:
    """Whether the device is lost or full, which is no request's fault."""
    if not isinstance(err, RuntimeError):
        return False
    named = getattr(torch, "AcceleratorError", ())  # by torch 2.8 and later
    return isinstance(err, named) or "CUDA" in str(err) or is_out_of_memory(err)


def is_out_of_memory(err: RuntimeError) -> bool:
    """Whether a batch was too big, on any device."""
    return isinstance(err, torch.OutOfMemoryError) or "can't allocate memory" in str(err)
