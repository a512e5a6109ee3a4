"""Stand-ins for what only a GPU has: a graph that replays, and a device that is not there.

`Tape` records what a step asks of the device and asks the very same again, over the same memory,
as a CUDA graph does: a number that the host would have had to change is stale in it. `Watch` is
told of every operation under fake tensors of a GPU, which know their device and hold no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
_COPIES = (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)


class Tape(TorchDispatchMode):
    """Records operations while it is on; `replay` does them again."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("the host asked the device for a value")
        out = func(*args, **(kwargs or {}))
        self.steps.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, out in self.steps:
            memory = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
            again = func(*args, **kwargs)
            for was, now in zip(_tensors(out), _tensors(again), strict=True):
                if was.untyped_storage().data_ptr() not in memory:
                    was.copy_(now)


class Recorder:
    """`device.Record` that keeps its tapes."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        tape = Tape()
        with tape:
            work()
        # Recording did the work, which recording a graph does not: the first replay is that.
        self.tapes.append(tape)
        done = iter((True,))

        def replay() -> None:
            if not next(done, False):
                tape.replay()

        return replay


class Watch(TorchDispatchMode):
    """Counts how often the host waits for the device, or sends so that it has to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0
        self.waited = 0
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = {t.device.type for t in _tensors((args, kwargs))}
        out = func(*args, **kwargs)
        self.operations += 1
        after = {t.device.type for t in _tensors(out)}
        if func.overloadpacket in _COPIES and before | after == {"cpu", "cuda"}:
            self.fetched += after == {"cpu"}
            non_blocking = any(value is True for value in (*args, *kwargs.values()))
            self.waited += not non_blocking
        return out


@contextmanager
def fake_gpu() -> Iterator[Watch]:
    """Inside, tensors of `CUDA` may be made and used, but not read: data-dependent ops raise."""
    with FakeTensorMode(allow_non_fake_inputs=True), Watch() as watch:
        yield watch


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
