"""The cycles of a program on a core, predicted without running it.

The model follows the rows, events and visits of :mod:`hw` as times instead of signals: every
quantity below is a cycle number, and a stage's time is the maximum of what it waits for. It is
exact where the host keeps up: it gives an input beat and a word of streamed weights in every cycle
in which the core takes one.
"""
from dataclasses import dataclass

import numpy as np

from hw.event_queue import EventQueue
from hw.fetch import Fetcher
from hw.fire import FireSequencer
from hw.max_pool import MaxPool
from hw.memory_map import regions
from hw.neuron import NeuronUnit
from hw.parameters import CoreParameters
from hw.passes import PassWalker
from hw.program import ProgramReader
from hw.readout import Readout as ReadoutBlock
from hw.shapes import FetchLayer, FireLayer
from hw.spans import SpanWalker
from hw.synapses import Synapses
from mapping.maps import SpikeMap
from mapping.plan import LayerPlan
from mapping.program import Program
from mapping.spans import Reach, reaches
from model.network import Readout

__all__ = ["CycleEstimate", "LayerEstimate", "estimate"]

#: Cycles from a visit to the cycle in which a row of the readout is worked on, and in which its
#: spikes are stored.
_READOUT = 10
_STORE = _READOUT + MaxPool.latency

#: Samples that are followed side by side, at most, and how many follow one another at least.
_STREAMS, _IN_STREAM = 256, 8


@dataclass(frozen=True, eq=False)
class LayerEstimate:
    """One layer's share of the cycles; arrays ``(samples,)``.

    Attributes
    ----------
    cycles
        From the close of the layer before to the close of this layer's last group.
    bound
        Sum over tiles, pixels and groups of planes of ``max(max_k events in bank k, visits)``.
    events
        Events of the source: (channel, group of planes) pairs with a spike.
    weight_fetches
        Words read from weight banks: an event is one for each tile and pixel that it reaches.
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
        from its first input beat, which follows the configuration at once.
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
    count, layers = len(inputs), program.plan.layers
    maps = [_events(program, number, inputs, spikes) for number in range(len(layers))]

    # Samples are cut into streams that are followed side by side. Each begins with the sample
    # before its first one, so that it starts from a core at work.
    streams = max(1, min(_STREAMS, count // _IN_STREAM))
    length = max(1, -(-(count - 1) // streams))
    first = np.arange(streams) * length
    model = _Model(program, streams)
    cycles = np.zeros(count, np.int64)
    shares = np.zeros((len(layers), 3, count), np.int64)     # cycles, bound, fetches
    before = None
    for offset in range(length + 1):
        sample = np.minimum(first + offset, count - 1)
        end, share = model.run([each[sample] for each in maps])
        if before is None:
            cycles[0], shares[..., 0] = end[0], share[..., 0]
        else:
            # Streams that ran out of samples repeat the last one: its own stream comes first.
            fresh = np.unique(sample, return_index=True)[1]
            fresh = fresh[(first + offset)[fresh] < count]
            cycles[sample[fresh]] = (end - before)[fresh]
            shares[..., sample[fresh]] = share[..., fresh]
        before = end
    return CycleEstimate(cycles, shares[:, 1].sum(axis=0), tuple(
        LayerEstimate(share[0], share[1], each.sum(axis=(1, 2, 3), dtype=np.int64), share[2])
        for share, each in zip(shares, maps, strict=True)))


def _events(program: Program, number: int, inputs, spikes) -> np.ndarray:
    """Place the events of a layer's sources: bool ``(samples, groups, columns, banks)``.

    The columns of several sources follow one another.
    """
    where, p, network = program.plan.layers[number], program.parameters, program.network
    parts = []
    for of, source in zip(where.source_numbers, where.sources, strict=True):
        if of < 0:
            planes = program.input_planes(inputs)
        else:
            counts = network.pooled(of, np.asarray(spikes[of]))
            own = network.planes(of, counts)                 # samples, steps, neurons, planes
            levels = np.array(program.plan.layers[of].levels)
            planes = np.zeros((*own.shape[:3], len(levels)), bool)
            planes[..., levels != 0] = own
            planes = np.moveaxis(planes, -1, 2).reshape(len(counts), -1, counts.shape[2])
        parts.append(_grouped(source, planes, p))
    return np.concatenate(parts, axis=2)


def _grouped(source: SpikeMap, planes: np.ndarray, p: CoreParameters) -> np.ndarray:
    """Return whether each channel has a spike in each group of planes, as the map lies."""
    placed = source.placed(planes, p.banks)
    padded = np.zeros((len(placed), source.groups * p.planes, placed.shape[2]), bool)
    padded[:, :placed.shape[1]] = placed
    shape = len(placed), source.groups, p.planes, source.columns, p.banks
    return np.logical_or.reduce(padded.reshape(shape), axis=2)


class _Model:
    """The state of a core as times, for a number of independent streams of samples."""

    def __init__(self, program: Program, streams: int):
        self.plan = program.plan
        self.p    = program.parameters
        self.words = self.p.banks * regions(self.p)["weights"].chunks     # that make a row
        self.reaches = [list(reaches(layer, self.p)) for layer in self.plan.layers]

        def times(*shape) -> np.ndarray:
            return np.zeros((streams, *shape), np.int64)

        banks = self.p.banks
        # Streamed weights: when the next tile's header may come, and when the tiles that were last
        # in the halves of the memory were released.
        self.header = times()
        self.freed  = {0: times() - 1, 1: times() - 1}
        # Input: when each of the last two buffers was released, and the last one complete; when
        # hidden spikes were stored, which goes first, and whether the pixel at work stores any.
        self.released = [times() - 1, times() - 1]
        self.loaded   = times()
        self.stores: list[np.ndarray] = []
        self.storing  = False
        # Spans: when the one before came from the walker, and was taken from the queue; when the
        # last row was sent, and when the last group counts as sent.
        self.given    = times() - 1
        self.span     = times() - 1
        self.row      = times() - 1
        self.settled  = times()
        # Programs: when the next layer is there for the fetcher, and for the pass walker. The first
        # input beat comes a cycle after the configuration.
        self.fetch_latency = ProgramReader.latency(FetchLayer(self.p))
        self.fire_latency  = ProgramReader.latency(FireLayer(self.p))
        self.fetches  = times() + self.fetch_latency - 1
        self.fires    = times() + self.fire_latency - 1
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
        self.began    = times() - NeuronUnit.turnaround(self.p)
        self.readout  = times()
        self.retired: list[np.ndarray] = []
        self.issued   = 0

    def run(self, maps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Follow one sample of each stream; return its end and each layer's shares."""
        start = np.maximum(self.loaded, self.released[0] + 1)
        self.loaded = self._load(start)
        load, end, shares = self.loaded, start, []
        last_reader = max(number for number, layer in enumerate(self.plan.layers)
                          if -1 in layer.source_numbers)
        for number, layer in enumerate(self.plan.layers):
            before = self.phase
            load = np.maximum(np.maximum(load, self.fetches), self.span + 1)
            self.fetches = load + self.fetch_latency
            # The first span of a layer does not come sooner.
            self.given = load + SpanWalker.latency - 1
            end, bound, fetches = self._layer(number, layer, maps[number])
            shares.append([self.phase - before, bound, fetches])
            if number == last_reader:
                self.released = [self.released[1], self.row]
        return end, np.array(shares)

    def _load(self, start: np.ndarray) -> np.ndarray:
        """Return when a sample's input is complete, of which the first beat may come at ``start``.

        In the cycle in which hidden spikes are stored no beat is.
        """
        beats = self.plan.frame_beats * self.plan.frame_planes
        if not self.stores:
            return start + beats
        stores = np.stack(self.stores, axis=1)
        after  = stores >= start[:, None]
        loaded = stores - start[:, None] - (np.cumsum(after, axis=1) - after)    # beats before
        needed = np.count_nonzero(after, axis=0)
        self.stores = [each for each, ever in zip(self.stores, needed, strict=True) if ever]
        return start + beats + np.count_nonzero(after & (loaded < beats), axis=1)

    def _layer(self, number: int, layer: LayerPlan, events: np.ndarray):
        """Follow one layer; return the cycle of its last result, its bound and its fetches."""
        p = self.p
        # Events up to each column, so that those of a row are a difference.
        sums = np.zeros((len(events), layer.groups, events.shape[2] + 1, p.banks), np.int32)
        np.cumsum(events, axis=2, out=sums[:, :, 1:])
        first, places = True, self.reaches[number]
        bound = fetches = np.zeros(len(events), np.int64)
        result = self.phase
        for at, reach in enumerate(places):
            last_of_tile = at == len(places) - 1 or places[at + 1].tile != reach.tile
            last_tile = reach.tile == layer.tiles - 1
            visits = layer.last_visits if last_tile else p.tile_groups
            for group in range(layer.groups):
                waits = layer.source_numbers != (-1,) and (
                    first if layer.whole else reach.tile == 0)
                begins_tile = group == 0 and (at == 0 or places[at - 1].tile != reach.tile)
                total = self._spans(layer, reach, group, sums[:, group], waits=waits, first=first,
                                    begins_tile=begins_tile)
                first = False
                self.settled = self.row + 1 + Fetcher.settling
                closed = np.maximum(self.end.max(axis=1), self.credit)
                self.phase = closed + 1
                ends_layer = at == len(places) - 1 and group == layer.groups - 1
                self.storing = reach.stores and layer.readout is None
                result = self._fire(layer, at == 0, group, visits, last_tile, ends_layer,
                                    closed + Synapses.latency)
                ends_tile = last_of_tile and group == layer.groups - 1
                if ends_tile and layer.streamed:
                    self.freed[layer.half(reach.tile, p)] = self.visit - 1
                if ends_layer if layer.coarse else ends_tile or not layer.late:
                    self.issued += layer.output_groups if layer.late else 1
                bound = bound + np.maximum(total.max(axis=1), visits)
                fetches = fetches + total.sum(axis=1)
        return result, bound, fetches

    def _spans(self, layer: LayerPlan, reach: Reach, group: int, sums: np.ndarray, *,
               waits: bool, first: bool, begins_tile: bool) -> np.ndarray:
        """Send the rows of a group; return its events ``(samples, banks)``."""
        total = np.zeros_like(self.held)
        for number, rows in enumerate(reach.spans):
            self.given = self.given + 1
            leave = np.maximum(self.given + 1, self.span)
            self.span = np.maximum(leave + 1, self.row)
            if first and number == 0:
                self.settled = np.maximum(self.settled, self.span + 2)
            row = self.span + 1
            if number == 0 and begins_tile and layer.streamed:
                row = np.maximum(row, self._stream(layer, reach.tile)) + 1
            for n, (begin, end) in enumerate(rows):
                if waits:
                    # Counted, then compared: two cycles after the group before was sent, or the
                    # group that is waited for was stored.
                    row = np.maximum(row, self.settled)
                    owed = 1 if layer.whole else (
                        self.plan.layers[layer.source_numbers[0]].output_groups)
                    waited = self.issued - owed + (
                        group if layer.late and not layer.whole else 0)
                    if waited >= 0:
                        row = np.maximum(row, self.retired[waited] + Fetcher.settling)
                self.row = row = self._space(row)
                events = (sums[:, end] - sums[:, begin]).astype(np.int64)
                total += events
                last = n == len(rows) - 1 and number == len(reach.spans) - 1
                self._row(row, events, last=last)
                row = row + 1
        return total

    def _stream(self, layer: LayerPlan, tile: int) -> np.ndarray:
        """Load a tile of weights, a word a cycle; return the cycle in which it is ready."""
        first = np.maximum(self.header, self.freed[layer.half(tile, self.p)]) + 1
        self.header = first + layer.tile_words * self.words
        return self.header

    def _space(self, row):
        """Return the first cycle from ``row`` on in which all queues can take a row."""
        most = self.p.queue_depth - 1 - EventQueue.in_flight
        never = np.iinfo(np.int64).max
        while True:
            seen  = (row - 1)[:, None, None]
            there = (self.writes < seen) & (self.leaves >= seen)
            excess = np.count_nonzero(there, axis=2) - most
            full = excess > 0
            if not full.any():
                return row
            # Not before so many of those that are there have left.
            leaves = np.sort(np.where(there, self.leaves, never), axis=2)
            last = np.take_along_axis(leaves, np.maximum(excess - 1, 0)[:, :, None], axis=2)
            row  = np.maximum(row, np.where(full, last[:, :, 0] + 2, 0).max(axis=1))

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

    def _fire(self, layer, first, group, visits, last_tile, ends_layer, counted):
        """Fire a group of planes; return the cycle of its last result."""
        p = self.p
        planes = layer.sources[0].last_planes if group == layer.groups - 1 else p.planes
        if first and group == 0:                             # the layer is loaded first
            load = np.maximum(self.walked + 1, self.fires)
            self.walked, self.fires = load, load + self.fire_latency
        result = counted
        begin = group * p.planes
        for number in range(begin, begin + planes):
            last_counts = number == begin + planes - 1
            step, plane = divmod(number, layer.planes)
            fires = plane == layer.planes - 1
            result = self._pass(layer, visits, step if fires else None, last_tile,
                                counted=counted, returns=last_counts)
            if fires:
                result = self._levels(layer, visits, step, last_tile, result)
        if layer.static and group == layer.groups - 1:
            for step in range(1, layer.steps):
                result = self._pass(layer, visits, step, last_tile)
                result = self._levels(layer, visits, step, last_tile, result)
        if layer.coarse and ends_layer:
            self.retired.append(self.visit - 1 + _STORE)
        return result

    def _levels(self, layer, visits, step, last_tile, result):
        """Follow the further output planes of a step; return the cycle of its last result."""
        for level in range(1, len(layer.levels)):
            result = self._pass(layer, visits, step, last_tile, level=level)
        return result

    def _pass(self, layer, visits, step, last_tile, *, level=0, counted=None, returns=False):
        """Follow the visits of one pass; return the cycle of its last result."""
        p, readout = self.p, layer.readout
        last_step = step == layer.steps - 1
        emits = readout is not None and step is not None and (readout is Readout.SUM or last_step)
        # The pass before is taken by its last visit; this one can be given then.
        self.walked = np.maximum(self.walked + PassWalker.period, self.visit - 1)
        start = np.maximum(self.walked + 1, self.began + NeuronUnit.turnaround(p))
        if counted is not None:
            start = np.maximum(start, counted)
        visit = result = start
        if emits:
            for n in range(visits):
                visit = np.maximum(visit + (n > 0), self.readout)
                start = visit if n == 0 else start
                lanes = layer.last_lanes if last_tile and n == visits - 1 else p.neurons
                self.readout = visit + _READOUT + lanes
                result = self.readout + ReadoutBlock.latency - 1
            credit = visit
        else:
            visit  = start + visits - 1
            credit = start + max(0, visits - 1 - FireSequencer.lead)
        if returns:
            self.credit = credit + 1
        if step is not None and self.storing:
            self.stores.append(visit + _STORE)
        if step is not None and not layer.coarse:
            # A row of the output map holds the planes of several levels or steps.
            levels = len(layer.levels)
            plane = step * levels + level
            if plane % p.planes == p.planes - 1 or plane == layer.steps * levels - 1:
                self.retired.append(visit + _STORE)
        self.began, self.visit = start, visit + 1
        return result
