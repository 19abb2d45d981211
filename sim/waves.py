"""Waveforms to look at: with enums by name, structs by field and the core's own hierarchy."""

from pathlib import Path

import numpy as np

from hw.core import Core
from mapping.program import Program
from model.files import atomic_write
from sim.pysim import simulate, stream_get_all, stream_put_all

__all__ = ["write_waves"]

# Amaranth's simulator manages some hundred cycles a second: this is for single samples.
_MAX_CYCLES = 100_000


def write_waves(program: Program, inputs: np.ndarray, path: Path) -> None:
    """Write the waveform of a few samples as VCD.

    The core runs in Amaranth's own simulator, which knows the types of the signals; Verilator
    sees Verilog, where every struct is a vector. The network is in the memories from the start.

    Parameters
    ----------
    program
        The network, compiled for the core.
    inputs
        A few samples, as for :func:`sim.run.simulate`.
    path
        The ``.vcd`` file.

    Raises
    ------
    OSError
        If it can't be written.
    TimeoutError
        If the samples take too long.
    """
    beats = [int.from_bytes(beat.tobytes(), "little")
             for sample in program.pack_inputs(inputs) for beat in sample]
    results = len(inputs) * program.network.outputs

    with atomic_write(path) as temporary:
        core = Core(program.parameters, trace=True, image=program.image())

        async def feed(ctx):
            await stream_put_all(ctx, core.i, beats)

        async def feed_weights(ctx):
            await stream_put_all(ctx, core.w, program.stream_words().tolist() * len(inputs))

        async def collect(ctx):
            await stream_get_all(ctx, core.o, results)

        simulate(core, feed, feed_weights, collect, max_cycles=_MAX_CYCLES, vcd=temporary)
