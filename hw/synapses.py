"""The synapses: weight banks, adder trees, accumulators and their shadow."""
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.adder_tree import count_ones
from hw.config import ConfigurableMemory
from hw.memory_map import regions, weight_lanes
from hw.parameters import CoreParameters
from hw.shapes import ConfigWrite

__all__ = ["Synapses", "Counts"]


class Counts(data.StructLayout):
    """Spikes that one neuron received in each plane, on plus and on minus synapses."""

    def __init__(self, p: CoreParameters):
        super().__init__({
            "plus":  data.ArrayLayout(p.count_width, p.planes),
            "minus": data.ArrayLayout(p.count_width, p.planes),
        })


class Synapses(wiring.Component):
    """Count the spikes of one bundle a cycle, for all lanes and planes.

    ::

        cycle  0        1          2            3                4
               bundle   address    weight word  gated masks      popcounts    -> accumulators
                        register   out          registers        registers       and shadow

    A bank without an event, or a plane without a spike, is silenced by the reset of the register
    that takes its weight word or masks. The bundle with ``last`` closes the group: its sums go to
    the shadow registers and the accumulators start again from zero, so that no cycle is lost.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    weights : sequence of sequences of :class:`int`
        First contents of each bank; :func:`~hw.memory_map.weight_lanes` gives the order in a word.

    Members
    -------
    address, planes : :py:`In(ArrayLayout(..., banks))`
        The bundle: a weight address and the planes of each bank's event; no plane, no event.
    last : :py:`In(1)`
        The bundle closes its group of planes.
    counts : :py:`Out(ArrayLayout(Counts, lanes))`
        Shadow registers: the sums of the last group that was closed.
    closed : :py:`Out(1)`
        Pulse, in the cycle before ``counts`` are those of a new group.
    write, write_en : :py:`In(ConfigWrite)`, :py:`In(1)`
        Configuration; and weights that come while others are read, if ``single_port`` is
        not set.
    """

    #: Cycles from a bundle with ``last`` to ``closed``.
    latency = 4

    address: data.View
    planes: data.View
    last: Signal
    counts: data.View
    closed: Signal
    write: data.View
    write_en: Signal

    def __init__(self, parameters: CoreParameters, *, weights=None):
        self._p = p = parameters
        self._weights = weights or [()] * p.banks
        super().__init__({
            "address":  In(data.ArrayLayout(range(p.weight_depth), p.banks)),
            "planes":   In(data.ArrayLayout(p.planes, p.banks)),
            "last":     In(1),
            "counts":   Out(data.ArrayLayout(Counts(p), p.lanes)),
            "closed":   Out(1),
            "write":    In(ConfigWrite),
            "write_en": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        p = self._p
        region = regions(p)["weights"]

        # Masks of each plane: plus[plane][bank] and minus[plane][bank], a bit a lane.
        plus  = [[Signal(p.lanes, name=f"plus_{plane}_{bank}", reset_less=True)
                 for bank in range(p.banks)]
                 for plane in range(p.planes)]
        minus = [[Signal(p.lanes, name=f"minus_{plane}_{bank}", reset_less=True)
                  for bank in range(p.banks)]
                 for plane in range(p.planes)]
        # Block RAMs have a register that can be reset. Several planes share it, and single-port
        # memories lack it: there the masks are reset.
        clears_word = p.planes == 1 and not p.single_port
        for bank in range(p.banks):
            m.submodules[f"bank{bank}"] = memory = ConfigurableMemory(
                region, init=self._weights[bank], bank=bank, shared_port=p.single_port,
                concurrent=not p.single_port)
            address = Signal(range(p.weight_depth), name=f"address_{bank}", reset_less=True)
            spiking = Signal(p.planes, name=f"spiking_{bank}")     # with `address`
            gate    = Signal(p.planes, name=f"gate_{bank}")        # with the weight word
            m.d.sync += [
                address.eq(self.address[bank]),
                spiking.eq(self.planes[bank]),
                gate.eq(spiking),
            ]
            m.d.comb += [
                memory.address.eq(address),
                memory.write.eq(self.write),
                memory.write_en.eq(self.write_en),
            ]
            if clears_word:
                m.d.comb += memory.clear.eq(~spiking)
            for plane in range(p.planes):
                masks = Cat(Cat(plus[plane][bank][lane], minus[plane][bank][lane])
                            for lane in weight_lanes(p))
                with m.If(gate[plane] | clears_word):
                    m.d.sync += masks.eq(memory.data)
                with m.Else():
                    m.d.sync += masks.eq(0)

        last = Signal(self.latency)          # `last` on its way; the oldest is the highest
        m.d.sync += last.eq(Cat(self.last, last))
        m.d.comb += self.closed.eq(last[-1])

        for lane in range(p.lanes):
            # One carry chain adds all of a lane's counts to their accumulators. Below each is a
            # place that adds 1 to its first mask, which is then the carry into the count: so each
            # counter takes that mask for free, and a power of two of banks leaves 2**n - 1 masks
            # for the tree. No carry comes into that place, as no count overflows: the mapper
            # refuses a network of which one could.
            sums, counts, shadows = [], [], []
            for plane in range(p.planes):
                for sign, masks in (("plus", plus[plane]), ("minus", minus[plane])):
                    name  = f"lane{lane}_{sign}{plane}"
                    first, *rest = [mask[lane] for mask in masks]
                    carry = Signal(name=f"{name}_carry", reset_less=True)
                    count = Signal(p.count_width, name=f"{name}_count", reset_less=True)
                    acc   = Signal(p.count_width, name=f"{name}_acc")
                    m.d.sync += [carry.eq(first), count.eq(count_ones(m, rest, name=name))]
                    sums    += [Const(1), acc]
                    counts  += [carry, count]
                    shadow = Signal(p.count_width, name=f"{name}_shadow", reset_less=True)
                    m.d.comb += getattr(self.counts[lane], sign)[plane].eq(shadow)
                    shadows.append(shadow)
            total = Signal((p.count_width + 1) * len(shadows), name=f"lane{lane}_total")
            m.d.comb += total.eq(Cat(sums) + Cat(counts))
            for n, (acc, shadow) in enumerate(zip(sums[1::2], shadows, strict=True)):
                after = total[n * (p.count_width + 1) + 1:][:p.count_width]
                with m.If(last[-1]):
                    m.d.sync += [acc.eq(0), shadow.eq(after)]
                with m.Else():
                    m.d.sync += acc.eq(after)
        return m
