"""One neuron unit: from counts to current, membrane and spike."""
from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.parameters import CoreParameters
from hw.shapes import LEAK_WIDTH

__all__ = ["NeuronUnit"]


class NeuronUnit(wiring.Component):
    """The arithmetic of one neuron, a pipeline that takes a lane a cycle.

    It does what ``docs/numerics.md`` says, in this order::

        I = [I +] gain_plus * plus - gain_minus * minus      current of one or more planes
        v = leak(v) + I + bias                               leak(v) = v - (v >> k1) - (v >> k2)
        v = saturate(v)
        z = v >= threshold
        v = v - threshold if z (soft reset), or 0 (hard reset)

    A spike that counts has several planes, and takes as many visits: those after the first one
    ``hold`` the step, they neither leak nor add, and compare a threshold of their own with what is
    left. A hard reset waits for the last of them. Signed spikes have further planes of that kind,
    which fire below zero.

    Currents and membranes of the ``tile_groups`` lanes that a unit serves wait in two small
    memories. Members bear the stage, in cycles after the visit began, in which they are used::

        stage  2  multiply          5  add bias, read membrane, shift       8  compare, reset
               3  subtract          6  leak, integrate                      9  spike, membrane out
               4  sum the planes    7  saturate

    A lane may be visited again ``turnaround(parameters)`` cycles later.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.

    Members
    -------
    s2_plus, s2_minus : :py:`In(count_width)`
        Spikes received on plus and on minus synapses.
    s2_gain_plus, s2_gain_minus : :py:`In(signed(gain_width))`
        Current of one of them.
    s3_counts, s3_keep : :py:`In(1)`
        Add this visit's counts; keep the current of the visits before.
    s2_group, s4_group, s5_group, s8_group : :py:`In(range(tile_groups))`
        Lane.
    s4_valid : :py:`In(1)`
        There is a visit.
    s5_bias : :py:`In(signed(current_width))`
        Current of every step.
    s5_first_step, s5_hold : :py:`In(1)`
        The membrane is zero before this step; the step goes on.
    s5_leak : :py:`In(ArrayLayout(LEAK_WIDTH, 2))`
        Shifts of the leak's terms; 0: no such term.
    s7_limit : :py:`In(membrane_width)`
        ``2**n - 1``: the membrane saturates to ``-2**n .. 2**n - 1``.
    s8_threshold : :py:`In(signed(membrane_width + 1))`
        What a spike adds to the membrane: ``-threshold``. A magnitude above every membrane: the
        neuron never fires.
    s8_negative : :py:`In(1)`
        Fire below zero, where ``v + threshold < 0``; a spike adds ``+threshold``.
    s8_hard, s8_fire : :py:`In(1)`
        Membranes that have fired in this step become zero; the visit changes the membrane.
    s9_spike, s9_membrane : :py:`Out(1)`, :py:`Out(signed(membrane_width))`
        What the step gave.
    """

    s2_plus: Signal
    s2_minus: Signal
    s2_gain_plus: Signal
    s2_gain_minus: Signal
    s3_counts: Signal
    s3_keep: Signal
    s2_group: Signal
    s4_group: Signal
    s4_valid: Signal
    s5_group: Signal
    s5_bias: Signal
    s5_first_step: Signal
    s5_hold: Signal
    s5_leak: data.View
    s7_limit: Signal
    s8_group: Signal
    s8_threshold: Signal
    s8_negative: Signal
    s8_hard: Signal
    s8_fire: Signal
    s9_spike: Signal
    s9_membrane: Signal

    def __init__(self, parameters: CoreParameters):
        self._p = p = parameters
        group = range(p.tile_groups)
        super().__init__({
            "s2_plus":       In(p.count_width),
            "s2_minus":      In(p.count_width),
            "s2_gain_plus":  In(signed(p.gain_width)),
            "s2_gain_minus": In(signed(p.gain_width)),
            "s3_counts":     In(1),
            "s3_keep":       In(1),
            "s2_group":      In(group),
            "s4_group":      In(group),
            "s4_valid":      In(1),
            "s5_group":      In(group),
            "s5_bias":       In(signed(p.current_width)),
            "s5_first_step": In(1),
            "s5_hold":       In(1),
            "s5_leak":       In(data.ArrayLayout(LEAK_WIDTH, 2)),
            "s7_limit":      In(p.membrane_width),
            "s8_group":      In(group),
            "s8_threshold":  In(signed(p.membrane_width + 1)),
            "s8_negative":   In(1),
            "s8_hard":       In(1),
            "s8_fire":       In(1),
            "s9_spike":      Out(1),
            "s9_membrane":   Out(signed(p.membrane_width)),
        })

    @staticmethod
    def turnaround(p: CoreParameters) -> int:
        """Return the cycles from one visit of a lane to the next.

        They are those from the reading of its membrane to its writing, and more than those of its
        current.
        """
        return 5 if p.block_membranes else 4

    def elaborate(self, platform):
        m = Module()
        p = self._p
        current  = signed(p.current_width)
        membrane = signed(p.membrane_width)

        # Currents stay in range from the first plane to the last: the mapper proves it from the
        # weights. So they may wrap within a sum, and no adder has guard bits.
        m.submodules.currents = currents = memory.Memory(
            shape=current, depth=p.tile_groups, init=[],
            attrs={"ram_style": "block"} if p.block_currents else {})
        current_read, current_write = currents.read_port(domain="comb"), currents.write_port()

        s3_plus  = Signal(signed(p.gain_width + p.count_width + 1), reset_less=True)
        s3_minus = Signal.like(s3_plus)
        s3_before = Signal(current, reset_less=True)
        s4_new   = Signal(current, reset_less=True)
        s4_old   = Signal(current, reset_less=True)
        s5_current = Signal(current, reset_less=True)
        m.d.comb += [
            current_read.addr.eq(self.s2_group),
            current_write.addr.eq(self.s4_group),
            current_write.data.eq(s4_old + s4_new),
            current_write.en.eq(self.s4_valid),
        ]
        m.d.sync += [
            s3_plus.eq(self.s2_gain_plus * self.s2_plus),
            s3_minus.eq(self.s2_gain_minus * self.s2_minus),
            s4_new.eq(Mux(self.s3_counts, s3_plus - s3_minus, 0)),
            s4_old.eq(Mux(self.s3_keep, s3_before, 0)),
            s5_current.eq(current_write.data),
        ]
        # The block RAM's own register. A current is never read while it is written, but only the
        # comparison lets synthesis see that, and spare the logic for the case that it were.
        with m.If(~(self.s4_valid & (self.s4_group == self.s2_group))):
            m.d.sync += s3_before.eq(current_read.data)

        state = data.StructLayout({"membrane": membrane, "fired": 1})    # ... in this step
        m.submodules.membranes = membranes = memory.Memory(
            shape=state, depth=p.tile_groups, init=[],
            attrs={"ram_style": "block"} if p.block_membranes else {})
        membrane_write = membranes.write_port()
        if p.block_membranes:                        # read a cycle earlier
            membrane_read = membranes.read_port()
            m.d.comb += [
                membrane_read.addr.eq(self.s4_group),
                membrane_read.en.eq(~(self.s8_fire & (self.s8_group == self.s4_group))),
            ]
        else:
            membrane_read = membranes.read_port(domain="comb")
            m.d.comb += membrane_read.addr.eq(self.s5_group)

        s6_current  = Signal(current, reset_less=True)
        s6_membrane = Signal(membrane, reset_less=True)
        s6_fired    = Signal(reset_less=True)
        s6_terms    = [Signal(membrane, name=f"s6_term{n}", reset_less=True)
                       for n in range(p.leak_terms)]
        m.d.sync += [
            s6_current.eq(Mux(self.s5_hold, 0, s5_current + self.s5_bias)),
            s6_membrane.eq(Mux(self.s5_first_step, 0, membrane_read.data.membrane)),
            s6_fired.eq(membrane_read.data.fired & self.s5_hold),
        ]
        for n, term in enumerate(s6_terms):
            # Only the shifts that the core has: a multiplexer, not a shifter of any distance.
            shift   = Signal(max(1, (p.leak_shift_max - 1).bit_length()), name=f"s5_shift{n}")
            shifted = Signal(membrane, name=f"s5_shifted{n}")
            m.d.comb += shift.eq(self.s5_leak[n] - 1)
            with m.Switch(shift):
                for k in range(p.leak_shift_max):
                    with m.Case(k):
                        m.d.comb += shifted.eq(membrane_read.data.membrane >> k + 1)
            m.d.sync += term.eq(
                Mux((self.s5_leak[n] == 0) | self.s5_first_step, 0, shifted))

        # Each shift is at least 1, so the leak brings a membrane towards zero (or to -1).
        leaked = Signal(membrane)
        m.d.comb += leaked.eq(s6_membrane - sum(s6_terms))
        s7_sum = Signal(signed(p.current_width + 1), reset_less=True)
        s7_fired = Signal(reset_less=True)
        m.d.sync += [s7_sum.eq(leaked + s6_current), s7_fired.eq(s6_fired)]

        s7_over  = Signal()
        s8_membrane = Signal(membrane, reset_less=True)
        s8_fired    = Signal(reset_less=True)
        sign = s7_sum[-1]
        m.d.comb += s7_over.eq(((s7_sum[:-1] ^ sign.replicate(p.current_width)) &
                                Cat(~self.s7_limit, Const(1).replicate(
                                    p.current_width - p.membrane_width))).any())
        # All bits above the limit must be the sign. The positive end is the limit's bits, the
        # negative end their complement.
        m.d.sync += [
            s8_membrane.eq(Mux(s7_over, self.s7_limit ^ sign.replicate(p.membrane_width),
                               s7_sum[:p.membrane_width])),
            s8_fired.eq(s7_fired),
        ]

        # Below zero a spike adds the threshold; so the sum's sign tells in both cases.
        s8_rest  = Signal(signed(p.membrane_width + 2))
        s8_spike = Signal()
        s8_next  = Signal(membrane)
        m.d.comb += [
            s8_rest.eq(s8_membrane + self.s8_threshold),
            s8_spike.eq(s8_rest[-1] == self.s8_negative),
            s8_next.eq(Mux(self.s8_hard & (s8_spike | s8_fired), 0,
                           Mux(s8_spike, s8_rest, s8_membrane))),
            membrane_write.addr.eq(self.s8_group),
            membrane_write.data.membrane.eq(s8_next),
            membrane_write.data.fired.eq(s8_spike | s8_fired),
            membrane_write.en.eq(self.s8_fire),
        ]
        m.d.sync += [self.s9_spike.eq(s8_spike), self.s9_membrane.eq(s8_next)]
        return m
