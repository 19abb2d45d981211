"""Stream sources, sinks and monitors for testbenches under cocotb.

An agent is one end of a stream, moved on by a call to ``step`` after each rising edge of the
clock. Right after an edge every signal still reads as it was before it, so a transfer is seen
without a race. One coroutine, :meth:`Bench.run`, steps all agents: a coroutine for each would cost
more than all they do.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from hw.core import Core

__all__ = ["Agent", "Bench", "Monitor", "Pace", "Sink", "Source", "always", "bernoulli"]

#: Tells, once a cycle, whether a source may offer or a sink may accept.
Pace = Callable[[], bool]


def always() -> bool:
    """Pace of an agent that never stalls."""
    return True


def bernoulli(p: float, rng: random.Random) -> Pace:
    """Return the pace of an agent that is willing in a random share ``p`` of the cycles."""
    return lambda: rng.random() < p


class Agent(Protocol):
    """One end of a stream."""

    def step(self, cycle: int, /) -> bool:
        """Move on by a cycle; tell whether a word was transferred."""
        ...


class Source:
    """Offers words; never takes one back nor changes it before it is transferred.

    Parameters
    ----------
    dut
        The top level.
    port
        Name of an input stream.
    words
        Integers, the payloads. More may be given later by :meth:`send`.
    pace
        When to offer the next one.

    Attributes
    ----------
    done
        Every word has been transferred.
    """

    def __init__(self, dut, port: str, words: Iterable[int] = (), pace: Pace = always):
        self._payload, self._valid, self._ready = (
            dut[f"{port}__{signal}"] for signal in ("payload", "valid", "ready"))
        self._pace = pace
        self._offered = False
        self._valid.value = 0
        self.send(words)

    def send(self, words: Iterable[int]) -> None:
        """Offer ``words`` after those before, which must have been transferred."""
        self._words: Iterator[int] = iter(words)
        self.done = False

    def step(self, cycle: int) -> bool:
        """Move on by a cycle; tell whether a word was transferred."""
        if self.done:
            return False
        moved = self._offered
        if moved and not self._ready.value:
            return False
        offers = False
        if self._pace():
            word = next(self._words, None)
            if word is None:
                self.done = True
            else:
                self._payload.value = word
                offers = True
        if offers is not self._offered:
            self._offered = offers
            self._valid.value = offers
        return moved


class Monitor:
    """Records what passes on a stream that has no ``ready``, with its cycles.

    Parameters
    ----------
    dut
        The top level.
    port
        Name of an output.

    Attributes
    ----------
    count
        Words seen since the start.
    """

    def __init__(self, dut, port: str):
        self._payload, self._valid = dut[f"{port}__payload"], dut[f"{port}__valid"]
        self._words: list[str] = []
        self._cycles: list[int] = []
        self.count = 0

    def step(self, cycle: int) -> bool:
        """Move on by a cycle; tell whether a word was transferred."""
        if not self._valid.value:
            return False
        self._record(cycle)
        return True

    def _record(self, cycle: int) -> None:
        self._words.append(str(self._payload.value))
        self._cycles.append(cycle)
        self.count += 1

    def take(self) -> tuple[np.ndarray, np.ndarray]:
        """Return and forget what was recorded: int64 cycles (n,), little endian words (n, bytes).

        See :mod:`sim.layout` for the words.
        """
        text = "".join(self._words).encode()
        width = len(self._words[0]) if self._words else 0
        planes = np.frombuffer(text, np.uint8).reshape(len(self._words), width) & 1
        cycles = np.array(self._cycles, np.int64)
        self._words.clear()
        self._cycles.clear()
        return cycles, np.packbits(planes[:, ::-1], axis=1, bitorder="little")


class Sink(Monitor):
    """Accepts and records the words of a stream.

    Parameters
    ----------
    dut
        The top level.
    port
        Name of an output stream.
    pace
        When to be ready.
    """

    def __init__(self, dut, port: str, pace: Pace = always):
        super().__init__(dut, port)
        self._ready = dut[f"{port}__ready"]
        self._pace = pace
        self._willing = False
        self._ready.value = 0

    def step(self, cycle: int) -> bool:
        """Move on by a cycle; tell whether a word was transferred."""
        moved = self._willing and super().step(cycle)
        willing = self._pace()
        if willing is not self._willing:
            self._willing = willing
            self._ready.value = willing
        return moved


class Bench:
    """Runs agents on a design with the clock ``clk`` and the reset ``rst``.

    Parameters
    ----------
    dut
        The top level.
    agents
        All ends of the design's streams.

    Attributes
    ----------
    cycle
        Cycles since the reset.
    last
        The cycle of the last transfer on any stream.
    """

    def __init__(self, dut, agents: Sequence[Agent]):
        self._dut = dut
        self._agents = agents
        self.cycle = 0
        self.last = 0

    async def reset(self) -> None:
        """Start the clock and reset the design."""
        Clock(self._dut.clk, 2, unit="ns").start()
        self._dut.rst.value = 1
        for _ in range(Core.reset_cycles):
            await RisingEdge(self._dut.clk)
        self._dut.rst.value = 0

    async def run(self, until: Callable[[], bool], *, cycles: int) -> bool:
        """Step all agents each cycle until ``until()``, for so many cycles at most.

        Parameters
        ----------
        until
            Asked whenever something was transferred.
        cycles
            Longest run.

        Returns
        -------
        bool
            Whether ``until()`` came true.
        """
        edge = RisingEdge(self._dut.clk)
        steps = [agent.step for agent in self._agents]
        for cycle in range(self.cycle + 1, self.cycle + cycles + 1):
            await edge
            moved = False
            for step in steps:
                if step(cycle):
                    moved = True
            if moved:
                self.last = cycle
                if until():
                    self.cycle = cycle
                    return True
        self.cycle += cycles
        return False
