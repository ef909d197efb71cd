"""The results of a load host's agents, held as the bytes that arrived."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from agents.wire import AgentResult, frames_of, unpack_result


class Frames(Collection[AgentResult]):
    """Results that are decoded each time they are read, one by one.

    Decoded counters take more memory than their frame, and a trial can have thousands of agents.
    """

    def __init__(self, stream: bytes) -> None:
        """Keep the stream. Reading it raises BadFrame where it is not what was sent."""
        self._stream = stream
        self._size: int | None = None

    def __iter__(self) -> Iterator[AgentResult]:
        """Decode the results in the order of the assignments."""
        return (unpack_result(payload) for payload in frames_of(self._stream))

    def __len__(self) -> int:
        """Return the number of agents."""
        if self._size is None:
            self._size = sum(1 for _ in frames_of(self._stream))
        return self._size

    def __contains__(self, item: object) -> bool:
        """Compare with each result."""
        return any(result == item for result in self)
