"""Sound of one request on its way out: pieces finish in any order and leave in theirs."""

from __future__ import annotations

from collections.abc import Callable

from .runner import Sound

Item = Sound | BaseException | None
"""What a sink gets: sound after sound, then None; or one error, and nothing after it."""
Sink = Callable[[Item], None]


class Outlet:
    """Keeps sound until its turn.

    Never waits for the reader: a request is bounded, and so is what can gather here.
    """

    def __init__(self, sink: Sink, pieces: int) -> None:
        self.sink = sink
        self._ready: list[list[Sound]] = [[] for _ in range(pieces)]
        self._ended = [False] * pieces
        self._turn = 0

    @property
    def done(self) -> bool:
        """Everything is out."""
        return self._turn == len(self._ready)

    def put(self, index: int, sound: Sound, final: bool) -> None:
        """Sound of a piece, after what came of it before."""
        self._ready[index].append(sound)
        self._ended[index] = final

    def flush(self) -> None:
        """Give the sink what is next in line; None after the last."""
        while not self.done:
            for sound in self._ready[self._turn]:
                if len(sound):
                    self.sink(sound)
            self._ready[self._turn].clear()
            if not self._ended[self._turn]:
                return
            self._turn += 1
            if self.done:
                self.sink(None)
