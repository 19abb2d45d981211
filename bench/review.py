# amaranth: UnusedElaboratable=no
"""The guide for those who review the hardware: each block, its ports, proofs and tests.

``python -m bench.review`` writes ``docs/review.md`` from the sources, and ``docs/review.svg`` from
a simulation; ``tests/test_review.py`` checks that the page is up to date.
"""
import argparse
import inspect
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from bench.tables import write_text
from bench.waveform import Row, draw, read
from hw.axi import TernspikeAXI
from hw.axi_lite import AXILite
from hw.config import ConfigurableMemory
from hw.core import Core
from hw.event_queue import EventQueue
from hw.fetch import Fetcher
from hw.fire import FireSequencer
from hw.host_link import HostLink
from hw.input_loader import InputLoader
from hw.line_speed import LineSpeed
from hw.link_status import LinkStatus
from hw.linked_core import LinkedCore
from hw.max_pool import MaxPool
from hw.memory_map import regions
from hw.neuron import NeuronUnit
from hw.neuron_array import NeuronArray
from hw.parameters import PRESETS, CoreParameters
from hw.passes import PassWalker
from hw.program import ProgramReader
from hw.readout import Readout
from hw.result_pages import ResultPages
from hw.result_words import ResultWords
from hw.row_queue import RowQueue
from hw.serial_core import SerialCore
from hw.shapes import FetchLayer, Span
from hw.slip import SlipDecoder, SlipEncoder
from hw.spans import SpanWalker
from hw.spi import SpiPeripheral
from hw.spike_memory import SpikeMemory
from hw.synapses import Synapses
from hw.uart import UartReceiver, UartTransmitter
from hw.weight_loader import WeightLoader
from mapping.program import compile_network
from model.network import DenseLayer, InputCoding, IntegerNetwork
from model.network import Readout as Gives
from sim.lint import WAIVERS
from sim.waves import write_waves

__all__ = ["BLOCKS", "document", "main", "picture"]

_ROOT = Path(__file__).resolve().parents[1]
_SHAPE = PRESETS["medium"]
#: Hz, and cycles a bit of a serial line.
_CLOCK, _DIVISOR = 80_000_000, 694

#: Every component of `hw/`, with the shape of `medium`: the core's, as a spike meets them; the host
#: link's, as a byte does; and those of the way into a system on chip.
BLOCKS: dict[type[wiring.Component], Callable[[], wiring.Component]] = {
    Core:           lambda: Core(_SHAPE),
    InputLoader:    lambda: InputLoader(_SHAPE),
    SpikeMemory:    lambda: SpikeMemory(_SHAPE),
    ProgramReader:  lambda: ProgramReader(regions(_SHAPE)["fetch"], FetchLayer(_SHAPE)),
    SpanWalker:     lambda: SpanWalker(_SHAPE),
    RowQueue:       lambda: RowQueue(width=Span(_SHAPE).size, depth=Fetcher.span_depth,
                                     margin=SpanWalker.in_flight),
    Fetcher:        lambda: Fetcher(_SHAPE),
    EventQueue:     lambda: EventQueue(_SHAPE),
    WeightLoader:   lambda: WeightLoader(regions(_SHAPE)["weights"]),
    Synapses:       lambda: Synapses(_SHAPE),
    PassWalker:     lambda: PassWalker(_SHAPE),
    FireSequencer:  lambda: FireSequencer(_SHAPE),
    NeuronArray:    lambda: NeuronArray(_SHAPE),
    NeuronUnit:     lambda: NeuronUnit(_SHAPE),
    MaxPool:        lambda: MaxPool(_SHAPE),
    Readout:        lambda: Readout(_SHAPE),
    ConfigurableMemory: lambda: ConfigurableMemory(regions(_SHAPE)["gains"]),
    SerialCore:     lambda: SerialCore(_SHAPE, clock=_CLOCK, divisor=_DIVISOR),
    LinkedCore:     lambda: LinkedCore(_SHAPE, clock=_CLOCK, divisor=_DIVISOR),
    UartReceiver:   lambda: UartReceiver(_DIVISOR),
    UartTransmitter: UartTransmitter,
    SpiPeripheral:  SpiPeripheral,
    SlipDecoder:    SlipDecoder,
    HostLink:       lambda: HostLink(_SHAPE, clock=_CLOCK, divisor=_DIVISOR),
    ResultPages:    lambda: ResultPages(_SHAPE, 256),
    LinkStatus:     lambda: LinkStatus(126),
    LineSpeed:      lambda: LineSpeed(_DIVISOR, _CLOCK // 2),
    SlipEncoder:    SlipEncoder,
    TernspikeAXI:   lambda: TernspikeAXI(_SHAPE),
    AXILite:        lambda: AXILite(8),
    ResultWords:    lambda: ResultWords(_SHAPE),
}

_HEAD = """\
# For the reviewer of the hardware

`python -m bench.review` makes this page from the sources; a test checks that it is up to date. The
order is a spike's way, which [architecture](architecture.md) tells as a story. Ports are those of
`medium`.

## Rules that hold everywhere

* **One clock.** All registers of the core are clocked by `clk` (Amaranth's domain `sync`); there is
  no gated or derived clock, and no second domain, so nothing crosses one; `tests/test_sim_lint.py`
  would find it. Pins come in through synchronisers of two flip-flops: `hw/uart.py`, `hw/spi.py`.
* **Reset is synchronous**, and lasts at least {reset} cycles: registers that carry data have none
  and run empty.
* **No latch**: the same test looks for one in the netlist.
* **Streams** keep what they offer until it is taken, and no `valid` depends on a `ready` within a
  cycle: [proved](verification.md#proofs) for all of them.
* **Nothing overflows silently.** The mapper bounds every sum and refuses a network that could leave
  it; membranes saturate as [numerics](numerics.md) says.

## Lint

`verilator -Wall` says nothing of the generated Verilog, except for these rules, which are waived
(`sim/lint.py`):

| rule | why |
| --- | --- |
{waivers}

## A span on its way

Two rows of a span, from the spike memory to the spikes that they cause, in a core of 2 banks, 4
lanes and 2 neuron units: 16 inputs that all spike in the first of two steps.

![Waveform: rows, events, weights, counts, a visit of the neuron units, spikes](review.svg)

## Blocks
"""


def document() -> str:
    """Return the page."""
    waivers = "\n".join(f"| `{rule}` | {why} |" for rule, why in sorted(WAIVERS.items()))
    return (_HEAD.format(reset=Core.reset_cycles, waivers=waivers)
            + "".join(_section(block, make()) for block, make in BLOCKS.items()))


def _section(block: type[wiring.Component], component: wiring.Component) -> str:
    """Return what there is to say about a block."""
    name = block.__module__.replace(".", "/") + ".py"
    text = inspect.getdoc(block) or ""
    summary = " ".join(text.split("\n\n")[0].split())
    lines = [f"\n### {block.__name__}\n\n[`{name}`](../{name}): {_plain(summary)}\n"]
    if diagram := _diagram(text):
        lines.append(f"\n```\n{diagram}\n```\n")
    if constants := _constants(block):
        lines.append("\n" + "".join(f"* `{each}` = {value}: {why}\n"
                                    for each, value, why in constants))
    lines.append("\n| port | | bits |\n| --- | --- | ---: |\n")
    lines += [f"| `{port}` | {way} | {bits} |\n" for port, way, bits in _ports(component)]
    lines.append(f"\nTests: {', '.join(_tests(block)) or 'through the core'}.\n")
    return "".join(lines)


def _plain(text: str) -> str:
    """Return a docstring's text without its roles, which Markdown does not know."""
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?([^`]+)`", r"`\1`", text).replace("``", "`")


def _diagram(text: str) -> str:
    """Return the drawing of a docstring, if there is one."""
    found = re.search(r"::\n\n((?:    .*\n|\n)+)", text + "\n")
    return textwrap.dedent(found[1]).strip("\n") if found else ""


def _constants(block: type[wiring.Component]) -> list[tuple[str, int, str]]:
    """Return the numbers that a block promises: name, value, and the comment before it."""
    source = inspect.getsource(block)
    return [(name, getattr(block, name), " ".join(re.sub(r"^\s*#:", "", line).strip()
                                                 for line in comment.splitlines()))
            for comment, name in re.findall(r"((?:^    #:.*\n)+)^    (\w+) = ", source,
                                            re.MULTILINE)
            if isinstance(getattr(block, name), int)]


def _ports(component: wiring.Component) -> list[tuple[str, str, int]]:
    """Return name, direction and bits of each port; a stream is one."""
    ports = []
    for name, member in component.signature.members.items():
        way = "in" if member.flow is In else "out"
        if member.is_signature:
            shape, way = member.signature.members["payload"].shape, f"stream {way}"
        else:
            shape = member.shape
        ports.append((name, way, Shape.cast(shape).width))
    return ports


def _tests(block: type[wiring.Component]) -> list[str]:
    """Return links to the tests and proofs that import a block."""
    needle = re.compile(rf"^from {re.escape(block.__module__)} import .*\b{block.__name__}\b",
                        re.MULTILINE)
    return [f"[{path.stem}](../tests/{path.name})"
            for path in sorted((_ROOT / "tests").glob("test_*.py"))
            if needle.search(path.read_text(encoding="utf-8"))]


def picture() -> str:
    """Return the waveform of a span, from a simulation."""
    core = CoreParameters(
        banks=2, lanes=4, neurons=2, scan=4, queue_depth=8, weight_depth=64, spike_depth=32,
        neuron_depth=64, gain_depth=64, program_depth=4, readout_depth=8, count_width=5,
        gain_width=10, current_width=18, membrane_width=14)

    def layer(inputs, outputs, readout=None):
        weights = (np.arange(inputs * outputs).reshape(outputs, inputs) * 7 % 5 - 2).clip(-1, 1)
        ones = np.ones(outputs, int)
        return DenseLayer(
            weights=weights, gain_plus=3 * ones, gain_minus=2 * ones, bias=ones, leak=(),
            membrane_bits=12, threshold=(0 if readout else 4) * ones, readout=readout)

    network = IntegerNetwork(input=InputCoding.SPIKES, input_bits=1, timesteps=2,
                             layers=(layer(16, 4), layer(4, 3, Gives.LAST)))
    inputs = np.stack([np.ones(16, np.uint8), np.zeros(16, np.uint8)])[None]
    top = "bench.top"
    rows = [
        Row("a row is read", f"{top}.fetcher.row", f"{top}.fetcher.issue"),
        Row("it comes to the queues", f"{top}.queue0.valid", base=1),
        Row("bank 0: event", f"{top}.queue0.address", f"{top}.queue0.event"),
        Row("bank 1: event", f"{top}.queue1.address", f"{top}.queue1.event"),
        Row("bank 0: + of 4 lanes", f"{top}.synapses.plus_0_0", base=2, digits=4),
        Row("lane 0: + of bank 1", f"{top}.synapses.lane0_plus0_count"),
        Row("lane 0: accumulator", f"{top}.synapses.lane0_plus0_acc"),
        Row("the group is closed", f"{top}.synapses.closed", base=1),
        Row("lane 0: shadow register", f"{top}.synapses.lane0_plus0_shadow"),
        Row("visit of lanes", f"{top}.fire.group", f"{top}.fire.valid"),
        Row("unit 0: count", f"{top}.neurons.s2_plus0", f"{top}.neurons.s2_valid"),
        Row("unit 0: current", f"{top}.neurons.unit0.s5_current", f"{top}.neurons.s5_valid"),
        Row("unit 0: membrane", f"{top}.neurons.unit0.s8_membrane", f"{top}.neurons.s8_valid"),
        Row("spikes of 2 units", f"{top}.neurons.s9_spikes", f"{top}.neurons.s9_valid", 2, 2),
        Row("spikes to the memory", f"{top}.neurons.spikes_en", base=1),
    ]
    names = {name for row in rows for name in (row.signal, row.valid) if name}
    with tempfile.TemporaryDirectory(prefix="ternspike-review-") as folder:
        path = Path(folder, "waves.vcd")
        write_waves(compile_network(network, core), inputs, path)
        series = read(path, [*names, f"{top}.fetcher.issue"])
    begin = series[f"{top}.fetcher.issue"].index(1) - 1
    end = series[f"{top}.neurons.spikes_en"].index(1) + 2
    return draw(rows, series, range(begin, end))


def main(arguments: list[str] | None = None) -> int:
    """Write page and picture; return 1 if they can't be written."""
    parser = argparse.ArgumentParser(prog="python -m bench.review",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/review.md"))
    options = parser.parse_args(arguments)
    try:
        write_text(options.output, document())
        write_text(options.output.with_suffix(".svg"), picture())
    except OSError as error:
        print(f"bench.review: {error}", file=sys.stderr)
        return 1
    print(f"Written: {options.output}, {len(BLOCKS)} blocks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
