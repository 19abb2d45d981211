"""One network on a device: the same samples through the golden model, value by value."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.accounting import arch
from model.network import IntegerNetwork
from ternspike import __version__, console
from ternspike.device import Device, Inference
from ternspike.samples import Samples

if TYPE_CHECKING:
    from hw.parameters import CoreParameters
    from model.golden import Trace

__all__ = ["Measured", "compared", "device_at", "measure", "summarise_run"]

#: What is being done, and how much of how much is done.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """What a device did.

    Members
    -------
    inference, golden
        Results of the device, and of the golden model.
    load_seconds, run_seconds
        What loading the network took, and running the samples.
    sent, received
        Bytes to the device and from it, for both.
    """

    inference: Inference
    golden: Trace
    load_seconds: float
    run_seconds: float
    sent: int
    received: int


@contextlib.contextmanager
def device_at(port: str, network: IntegerNetwork,
              simulated: CoreParameters) -> Iterator[Device]:
    """Give the device at a port, or one that is simulated if the port is ``sim``.

    Parameters
    ----------
    network
        What is going to run; before a simulator is built, it is seen whether it fits.
    simulated
        The core of a simulated board.

    Raises
    ------
    MappingError
        If the network does not fit the core that would be simulated.
    DeviceError, SimulationError
        If there is no such device.
    """
    if port != "sim":
        with Device(port) as device:
            yield device
        return
    from mapping.program import compile_network

    compile_network(network, simulated)
    console.note("Simulate a board. Its simulator is built first, unless it has been.")
    # A real board needs neither the RTL nor Verilator.
    from sim.board import simulated_board

    with simulated_board(simulated) as url, Device(url) as device:
        yield device


def measure(device: Device, network: IntegerNetwork, samples: Samples,
            progress: Progress) -> Measured:
    """Load the network and run the samples, on the device and on the golden model.

    Raises
    ------
    MappingError
        If the network does not fit the device's core.
    DeviceError
        If the device does not do what it should.
    """
    before = device.traffic
    begun = time.monotonic()
    device.load(network, progress=lambda *words: progress("Load the network", *words))
    loaded = time.monotonic()
    inference = device.infer(
        samples.inputs, progress=lambda done: progress("Run the samples", done, len(samples)))
    ended = time.monotonic()
    sent, received = np.subtract(device.traffic, before).tolist()
    from model.golden import execute

    golden = execute(network, samples.inputs, record=False)
    return Measured(inference, golden, loaded - begun, ended - loaded, sent, received)


def summarise_run(port: str, device: Device, network: IntegerNetwork, samples: Samples,
                  measured: Measured, seed: int) -> dict[str, Any]:
    """Return the numbers of a run: accuracies 0..1, cycles of the core, seconds of the host."""
    inference, golden = measured.inference, measured.golden
    mismatches, values, first = compared(inference, golden)
    return {
        "version": __version__,
        "dataset": samples.dataset,
        "arch": arch(network),
        "timesteps": network.timesteps,
        "samples": len(samples),
        "samples_available": samples.available,
        "seed": seed,
        "device": {"port": port, "clock": device.clock, "baud": device.baud},
        "core": device.parameters.to_dict(),
        "accuracy": {
            "integer": float(np.mean(golden.classes == samples.labels)),
            "device": float(np.mean(inference.classes == samples.labels)),
        },
        "mismatches": mismatches,
        "compared": values,
        "first_mismatch": first,
        "cycles": {"total": inference.cycles, "mean": inference.cycles / len(samples)},
        "bytes": {"sent": measured.sent, "received": measured.received},
        "seconds": {"load": measured.load_seconds, "run": measured.run_seconds},
    }


def compared(inference: Inference, golden: Trace) -> tuple[int, int, str | None]:
    """Return how many values differ, of how many, and what of the first sample is the first."""
    wrong = inference.membranes != golden.readout
    misled = inference.classes != golden.classes
    mismatches, values = int(wrong.sum() + misled.sum()), wrong.size + misled.size
    if not mismatches:
        return 0, values, None
    sample = int(np.argmax(wrong.any(axis=1) | misled))
    if not wrong[sample].any():
        return mismatches, values, (f"sample {sample}: class is {inference.classes[sample]}, "
                                    f"expected {golden.classes[sample]}")
    neuron = int(np.argmax(wrong[sample]))
    return mismatches, values, (
        f"sample {sample}, neuron {neuron}: membrane is {inference.membranes[sample, neuron]}, "
        f"expected {golden.readout[sample, neuron]}")
