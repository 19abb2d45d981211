"""The cycles of a program on a core, predicted without running it.

The model follows the rows, events and visits of :mod:`hw` as times instead of signals: every
quantity below is a cycle number, and a stage's time is the maximum of what it waits for. It is
exact where the host keeps up. It leaves out that the input loader gives way in the cycles in which
hidden spikes are stored: only cores that wait for their input see that.
"""
from dataclasses import dataclass

import numpy as np

from hw.event_queue import EventQueue
from hw.fetch import Fetcher
from hw.fire import FireSequencer
from hw.neuron import NeuronUnit
from hw.passes import PassWalker
from hw.program import ProgramReader
from hw.readout import Readout as ReadoutBlock
from hw.shapes import FetchLayer, FireLayer
from hw.synapses import Synapses
from mapping.plan import LayerPlan
from mapping.program import Program
from model.network import InputCoding, Readout, level_planes

__all__ = ["CycleEstimate", "LayerEstimate", "estimate"]

#: Cycles from a visit to the cycle in which its spikes are stored, or a row of the readout is
#: worked on.
_STORE = 10

#: Samples that are followed side by side when there are many.
_STREAMS = 64


@dataclass(frozen=True, eq=False)
class LayerEstimate:
    """One layer's share of the cycles; arrays ``(samples,)``.

    Attributes
    ----------
    cycles
        From the close of the layer before to the close of this layer's last group.
    bound
        Sum over tiles and groups of planes of ``max(max_k events in bank k, visits)``.
    events
        Events of one tile: (channel, group of planes) pairs with a spike.
    weight_fetches
        Words read from weight banks: events times tiles.
    """

    cycles: np.ndarray
    bound: np.ndarray
    events: np.ndarray
    weight_fetches: np.ndarray


@dataclass(frozen=True, eq=False)
class CycleEstimate:
    """Cycles of a stream of samples.

    Attributes
    ----------
    cycles
        ``(samples,)``, from the sample before's last result to this one's; for the first sample,
        from its first input beat.
    bound
        ``(samples,)``, what no schedule of these groups on these banks can beat.
    layers
        The layers' shares.
    """

    cycles: np.ndarray
    bound: np.ndarray
    layers: tuple[LayerEstimate, ...]


def estimate(program: Program, inputs: np.ndarray, spikes) -> CycleEstimate:
    """Predict the cycles that a core takes for samples that follow one another without a gap.

    Parameters
    ----------
    program : :class:`~mapping.program.Program`
        The network on its core.
    inputs : integer array
        As for :meth:`~mapping.program.Program.pack_inputs`.
    spikes : sequence of integer arrays
        ``(samples, steps, neurons)`` of each spiking layer, as the golden executor gives them.
    """
    count = len(inputs)
    plan, p = program.plan, program.parameters
    events = [_row_events(program, number, inputs, spikes) for number in range(len(plan.layers))]
    totals = [each.sum(axis=2) for each in events]           # (samples, groups, banks)
    bounds = [_bound(p, layer, total) for layer, total in zip(plan.layers, totals, strict=True)]

    # Many samples are cut into streams that are followed side by side. Each begins with the
    # sample before its first one, so that it starts from a core at work.
    streams = 1 if count <= _STREAMS else _STREAMS
    length = max(1, -(-(count - 1) // streams))
    first = np.arange(streams) * length
    model = _Model(program, streams)
    ends = []
    for offset in range(length + 1):
        sample = np.minimum(first + offset, count - 1)
        ends.append((sample, model.run([each[sample] for each in events])))
    cycles = np.zeros(count, np.int64)
    layer_cycles = np.zeros((len(plan.layers), count), np.int64)
    for (_, (before, _)), (sample, (end, shares)) in zip(ends, ends[1:], strict=False):
        cycles[sample] = end - before
        layer_cycles[:, sample] = shares
    sample, (end, shares) = ends[0]
    cycles[0], layer_cycles[:, 0] = end[0], shares[:, 0]
    # Streams that ran out of samples repeated the last one: its own stream comes first.
    return CycleEstimate(cycles, sum(bounds, np.zeros(count, np.int64)), tuple(
        LayerEstimate(layer_cycles[number], bounds[number], total.sum(axis=(1, 2)),
                      total.sum(axis=(1, 2)) * plan.layers[number].tiles)
        for number, total in enumerate(totals)))


def _row_events(program: Program, number: int, inputs, spikes) -> np.ndarray:
    """Count the events of each row: ``(samples, groups, rows, banks)``."""
    plan, p, network = program.plan.layers[number], program.parameters, program.network
    if number > 0:
        counts = np.asarray(spikes[number - 1])
        planes = level_planes(counts, network.layers[number - 1].z_max)    # the last axis
        planes = planes.swapaxes(2, 3).reshape(len(counts), -1, counts.shape[2])
    elif network.input is InputCoding.STATIC:
        planes = np.asarray(inputs)[:, None, :] >> np.arange(network.input_bits)[:, None] & 1 > 0
    else:
        planes = np.asarray(inputs) > 0
    samples, channels = planes.shape[0], planes.shape[2]
    padded = np.zeros((samples, plan.groups * p.planes, plan.rows * p.row_width), bool)
    padded[:, :planes.shape[1], :channels] = planes
    return padded.reshape(samples, plan.groups, p.planes, plan.rows, p.scan, p.banks).any(
        axis=2).sum(axis=3, dtype=np.int64)


def _bound(p, layer: LayerPlan, events: np.ndarray) -> np.ndarray:
    """Return the bound of a layer from its events ``(samples, groups, banks)``."""
    busiest = events.max(axis=2)
    whole = np.maximum(busiest, p.tile_groups).sum(axis=1)
    return whole * (layer.tiles - 1) + np.maximum(busiest, layer.last_visits).sum(axis=1)


class _Model:
    """The state of a core as times, for a number of independent streams of samples."""

    def __init__(self, program: Program, streams: int):
        self.plan = program.plan
        self.p    = program.parameters

        def times(*shape) -> np.ndarray:
            return np.zeros((streams, *shape), np.int64)

        banks = self.p.banks
        # Input: when each of the last two buffers was released, and the last one complete.
        self.released = [times() - 1, times() - 1]
        self.loaded   = times()
        # Fetcher: since when it waits for a sample, and when the last group counts as sent.
        self.waits    = times()
        self.settled  = times()
        # Programs: when the next layer is there for the fetcher, and for the pass walker.
        self.fetches  = times()
        self.fires    = times()
        self.fetch_latency = ProgramReader.latency(FetchLayer(self.p))
        self.fire_latency  = ProgramReader.latency(FireLayer(self.p))
        # Queues: cycle of each bank's last event, events of the held row, when a row was last
        # taken; when rows were written to the memory and left it, and how many.
        self.end      = times(banks) - 1
        self.held     = times(banks)
        self.taken    = times(banks) - 1
        self.writes   = times(banks, self.p.queue_depth) - 1
        self.leaves   = self.writes.copy()
        self.entry    = times(banks)
        # Groups: first cycle of this one, and when the next may close.
        self.phase    = times()
        self.credit   = times()
        # Firing: when the walker gave the pass before, next visit, start of the pass before,
        # readout, complete groups of output.
        self.walked   = times()
        self.visit    = times()
        self.began    = times() - NeuronUnit.turnaround
        self.readout  = times()
        self.retired: list[np.ndarray] = []
        self.issued   = 0

    def run(self, events: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Follow one sample of each stream; return its end and the layers' shares."""
        beats = self.plan.frame_beats * self.plan.frame_planes
        start = np.maximum(self.loaded, self.released[0] + 1)
        self.loaded = start + beats
        load = np.maximum(self.waits, self.loaded) + 1
        shares = []
        for number, layer in enumerate(self.plan.layers):
            before = self.phase
            load = np.maximum(load, self.fetches)
            self.fetches = load + self.fetch_latency
            self.settled = np.maximum(self.settled, load + Fetcher.settling)
            last_row, end = self._layer(number, layer, events[number], load + 1)
            shares.append(self.phase - before)
            if number == 0:
                self.released = [self.released[1], last_row]
            load = last_row + 1
        self.waits = last_row + 1
        return end, np.array(shares)

    def _layer(self, number, layer, events, row):
        """Follow one layer; return the cycle of its last row and that of its last result."""
        result = row
        source_groups = self.plan.layers[number - 1].output_groups
        for tile in range(layer.tiles):
            for group in range(layer.groups):
                for n in range(layer.rows):
                    if number > 0 and tile == 0:
                        # Counted, then compared: two cycles after the group before was sent, or
                        # the group that is waited for was stored.
                        row = np.maximum(row, self.settled)
                        waited = self.issued - source_groups + (group if layer.late else 0)
                        if waited >= 0:
                            row = np.maximum(row, self.retired[waited] + Fetcher.settling)
                    row = self._space(row)
                    self._row(row, events[:, group, n], last=n == layer.rows - 1)
                    last_row, row = row, row + 1
                self.settled = last_row + 1 + Fetcher.settling
                closed = np.maximum(self.end.max(axis=1), self.credit)
                self.phase = closed + 1
                result = self._fire(layer, tile, group, closed + Synapses.latency)
                self.issued += (0 if layer.late and group < layer.groups - 1 else
                                layer.output_groups if layer.late else 1)
        return last_row, result

    def _space(self, row):
        """Return the first cycle from ``row`` on in which all queues can take a row."""
        most = self.p.queue_depth - 1 - EventQueue.in_flight
        while True:
            seen  = (row - 1)[:, None, None]
            level = (self.writes < seen).sum(axis=2) - (self.leaves < seen).sum(axis=2)
            full  = (level > most).any(axis=1)
            if not full.any():
                return row
            row = row + full

    def _row(self, row, events, *, last):
        """Send a row's events to the queues."""
        spikes, held = events > 0, self.held > 0
        if not last:
            self._push(spikes & held, row + 2, self.held)
            self.held = np.where(spikes, events, self.held)
            return
        self._push(spikes & held, row + 2, self.held)
        # An empty last row closes the held one, or goes itself.
        self._push(np.ones_like(spikes), row + 3, np.where(spikes, events, self.held))
        self.held = np.zeros_like(self.held)

    def _push(self, mask, write, events):
        """Write a row to the queues in ``mask``, and follow it until its last event."""
        write = np.broadcast_to(write[:, None], mask.shape)
        leave = np.maximum(write + 1, self.taken)
        take  = np.maximum(leave + 1, self.end)
        end   = np.maximum(take + 1, self.phase[:, None]) + np.maximum(events, 1) - 1
        self.end   = np.where(mask, end, self.end)
        self.taken = np.where(mask, take, self.taken)
        stream, bank = np.nonzero(mask)
        place = self.entry[mask] % self.writes.shape[2]
        self.writes[stream, bank, place] = write[mask]
        self.leaves[stream, bank, place] = leave[mask]
        self.entry += mask

    def _fire(self, layer, tile, group, counted):
        """Fire a group of planes; return the cycle of its last result."""
        p, plan = self.p, self.plan
        last_tile = tile == layer.tiles - 1
        visits = layer.last_visits if last_tile else p.tile_groups
        planes = layer.last_planes if group == layer.groups - 1 else p.planes
        if tile == 0 and group == 0:                         # the layer is loaded first
            load = np.maximum(self.walked + 1, self.fires)
            self.walked, self.fires = load, load + self.fire_latency
        result = counted
        first = group * p.planes
        for number in range(first, first + planes):
            last_counts = number == first + planes - 1
            step, plane = divmod(number, layer.planes)
            fires = plane == layer.planes - 1
            result = self._pass(layer, visits, step if fires else None, last_tile,
                                counted=counted, returns=last_counts)
            if fires:
                result = self._levels(layer, visits, step, last_tile, result)
        if layer.static and group == layer.groups - 1:
            for step in range(1, plan.timesteps):
                result = self._pass(layer, visits, step, last_tile)
                result = self._levels(layer, visits, step, last_tile, result)
        return result

    def _levels(self, layer, visits, step, last_tile, result):
        """Follow the further output planes of a step; return the cycle of its last result."""
        for level in range(1, layer.levels):
            result = self._pass(layer, visits, step, last_tile, level=level)
        return result

    def _pass(self, layer, visits, step, last_tile, *, level=0, counted=None, returns=False):
        """Follow the visits of one pass; return the cycle of its last result."""
        p, plan = self.p, self.plan
        readout = layer.readout
        last_step = step == plan.timesteps - 1
        emits = readout is not None and step is not None and (readout is Readout.SUM or last_step)
        # The pass before is taken by its last visit; this one can be given then.
        self.walked = np.maximum(self.walked + PassWalker.period, self.visit - 1)
        start = np.maximum(self.walked + 1, self.began + NeuronUnit.turnaround)
        if counted is not None:
            start = np.maximum(start, counted)
        visit = result = start
        if emits:
            for n in range(visits):
                visit = np.maximum(visit + (n > 0), self.readout)
                start = visit if n == 0 else start
                lanes = layer.last_lanes if last_tile and n == visits - 1 else p.neurons
                self.readout = visit + _STORE + lanes
                result = self.readout + ReadoutBlock.latency - 1
            credit = visit
        else:
            visit  = start + visits - 1
            credit = start + max(0, visits - 1 - FireSequencer.lead)
        if returns:
            self.credit = credit + 1
        if step is not None:
            # A row of the output map holds the planes of several levels or steps.
            plane = step * layer.levels + level
            if plane % p.planes == p.planes - 1 or plane == plan.timesteps * layer.levels - 1:
                self.retired.append(visit + _STORE)
        self.began, self.visit = start, visit + 1
        return result
