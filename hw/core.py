"""The core: from the stream of input spikes to the stream of results."""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.event_queue import EventQueue
from hw.fetch import Fetcher
from hw.fire import FireSequencer
from hw.input_loader import InputLoader
from hw.memory_map import regions
from hw.neuron_array import NeuronArray
from hw.parameters import CoreParameters
from hw.passes import PassWalker
from hw.program import ProgramReader
from hw.readout import Readout
from hw.shapes import ConfigWrite, FetchLayer, FireLayer, InputFrame, ReadoutBeat, trace_layout
from hw.spike_memory import SpikeMemory
from hw.synapses import Synapses
from hw.weight_loader import WeightLoader

__all__ = ["Core"]


class Core(wiring.Component):
    """A ternary spiking network accelerator that runs a program of layers.

    ::

                                                         w -> WeightLoader --+
                                                                             v
        i -> InputLoader -> SpikeMemory -> Fetcher -> EventQueue x banks -> Synapses
                                ^                                              |
                                +--------------- NeuronArray <-----------------+
                                                  ^       |
                         PassWalker -> FireSequencer      Readout -> o

    The same program is walked twice in the same order: the fetcher reads the spikes of each group
    of planes, and the fire sequencer visits the neurons of each group that was counted. The
    weights of networks that are larger than their memory come over ``w`` meanwhile, a tile at a
    time, once for every sample.

    A reset drops all samples and keeps the network. Registers that carry data have none: a reset
    lasts at least :attr:`reset_cycles`, in which they run empty.

    Parameters
    ----------
    parameters : :class:`~hw.parameters.CoreParameters`
        Shape of the core.
    trace : :class:`bool`
        Add the monitor port ``trace``.
    image : dict
        First contents of the memories by the names of :func:`hw.memory_map.regions`: a sequence
        of rows each; for ``weights``, one sequence a bank.

    Members
    -------
    config : :py:`In(stream.Signature(ConfigWrite))`
        Writes to the memories, taken while the core is idle.
    i : :py:`In(stream.Signature(lanes))`
        Beats of input samples, see :class:`~hw.input_loader.InputLoader`.
    w : :py:`In(stream.Signature(32))`
        Tiles of weights, see :class:`~hw.weight_loader.WeightLoader`. With ``single_port``
        none is taken.
    o : :py:`Out(stream.Signature(ReadoutBeat))`
        Results of the samples in order, a readout neuron a beat.
    idle : :py:`Out(1)`
        No sample is in the core, nor a part of one.
    busy : :py:`Out(1)`
        A whole sample is in the core.
    frame : :py:`Out(InputFrame)`
        How the program wants its input.
    trace : :py:`Out(stream.Signature(trace_layout, always_ready=True))`
        Spikes and membranes of each visit that is a step; with ``trace`` only.
    """

    #: Cycles that a reset lasts at least.
    reset_cycles = 16

    config: stream.Interface
    i: stream.Interface
    w: stream.Interface
    o: stream.Interface
    idle: Signal
    busy: Signal
    frame: data.View
    trace: stream.Interface

    def __init__(self, parameters: CoreParameters, *, trace: bool = False, image=None):
        if not isinstance(parameters, CoreParameters):
            raise TypeError(f"Core parameters must be CoreParameters, not {parameters!r}")
        self._p = p = parameters
        self._image = image or {}
        members = {
            "config": In(stream.Signature(ConfigWrite)),
            "i":      In(stream.Signature(p.lanes)),
            "w":      In(stream.Signature(32)),
            "o":      Out(stream.Signature(ReadoutBeat(p))),
            "idle":   Out(1),
            "busy":   Out(1),
            "frame":  Out(InputFrame(p)),
        }
        if trace:
            members["trace"] = Out(stream.Signature(trace_layout(p), always_ready=True))
        super().__init__(members)

    @property
    def parameters(self) -> CoreParameters:
        """The parameters that the core was made with."""
        return self._p

    def elaborate(self, platform):
        m = Module()
        p = self._p
        image = self._image

        m.submodules.loader   = loader   = InputLoader(p)
        m.submodules.spikes   = spikes   = SpikeMemory(p)
        m.submodules.fetcher  = fetcher  = Fetcher(p)
        m.submodules.synapses = synapses = Synapses(p, weights=image.get("weights"))
        m.submodules.passes   = passes   = PassWalker(p)
        m.submodules.fire     = fire     = FireSequencer(p)
        m.submodules.neurons  = neurons  = NeuronArray(p, image=image)
        m.submodules.readout  = readout  = Readout(p)

        # Configuration: a register that all memories take their writes from, and one in each of
        # them. No sample is taken, and the program does not start, before the last write is done.
        write    = Signal(ConfigWrite, reset_less=True)
        write_en = Signal()
        written  = Signal()                          # in the cycle before
        m.d.sync += [
            write.eq(self.config.payload),
            write_en.eq(self.config.valid & self.config.ready),
            written.eq(write_en),
        ]
        m.d.comb += self.config.ready.eq(self.idle)

        # Streamed weights take the same register, and a flag that only the weight memory sees.
        stream_en = Signal()
        if not p.single_port:
            m.submodules.weight_loader = weight_loader = WeightLoader(regions(p)["weights"])
            wiring.connect(m, wiring.flipped(self.w), weight_loader.i)
            m.d.comb += [
                weight_loader.hold.eq((self.config.valid & self.idle) | write_en),
                weight_loader.restart.eq(write_en),
                weight_loader.take.eq(fetcher.take),
                weight_loader.take_half.eq(fetcher.take_half),
                weight_loader.release.eq(fire.visit.frees & fire.visit.last & fire.valid),
                fetcher.tiles.eq(weight_loader.ready),
            ]
            m.d.sync += stream_en.eq(weight_loader.write_en)
            with m.If(weight_loader.write_en):
                m.d.sync += write.eq(weight_loader.write)

        m.submodules.fetch_program = fetch_program = ProgramReader(
            regions(p)["fetch"], FetchLayer(p), init=image.get("fetch", ()))
        m.submodules.fire_program = fire_program = ProgramReader(
            regions(p)["fire"], FireLayer(p), init=image.get("fire", ()))
        for block in (fetch_program, fire_program, neurons):
            m.d.comb += [block.write.eq(write), block.write_en.eq(write_en)]
        m.d.comb += [synapses.write.eq(write), synapses.write_en.eq(write_en | stream_en)]
        frame = Signal(InputFrame(p), init=InputFrame(p).from_bits(image.get("input", [0])[0]),
                       reset_less=True)
        frame_region = regions(p)["input"]
        for chunk in range(frame_region.chunks):
            part = frame.as_value()[chunk * 32:][:32]
            with m.If(write_en & (write.address == frame_region.address(0, chunk))):
                m.d.sync += part.eq(write.data)

        # Input, and the spikes of hidden layers, which go first.
        wiring.connect(m, wiring.flipped(self.i), loader.i)
        m.d.comb += [
            loader.frame.eq(frame),
            loader.write_ready.eq(~neurons.spikes_en & ~write_en & ~written),
            loader.release.eq(fetcher.release),
            spikes.write_en.eq(neurons.spikes_en | loader.write_en),
            spikes.write.eq(Mux(neurons.spikes_en, neurons.spikes, loader.write)),
        ]

        # Rows of spikes to the event queues.
        queues = [EventQueue(p) for _ in range(p.banks)]
        m.d.comb += [
            fetcher.layer.eq(fetch_program.layer),
            fetcher.layer_valid.eq(fetch_program.valid),
            fetch_program.take.eq(fetcher.layer_take),
            fetcher.full.eq(loader.full),
            fetcher.stride.eq(frame.stride),
            fetcher.retire.eq(neurons.retire),
            spikes.read_row.eq(fetcher.address),
            fetcher.row.eq(spikes.read_data),
            fetcher.space.eq(Cat(queue.space for queue in queues).all()),
        ]
        phase = Signal()
        for bank, queue in enumerate(queues):
            m.submodules[f"queue{bank}"] = queue
            m.d.comb += [
                queue.row.tag.eq(fetcher.tag),
                queue.valid.eq(fetcher.valid),
                queue.phase.eq(phase),
                synapses.address[bank].eq(queue.address),
                synapses.planes[bank].eq(Mux(queue.event, queue.planes, 0)),
            ]
            for column in range(p.scan):
                channel = column * p.banks + bank
                m.d.comb += queue.row.spikes[column].eq(
                    Cat(fetcher.spikes[plane][channel] for plane in range(p.planes)))

        # One bundle a cycle. A group closes when no bank has an event left and the shadow
        # registers are free, or will be when the group's sums arrive there.
        credit = Signal(init=1)
        close  = Signal()
        m.d.comb += [
            close.eq(Cat(queue.done for queue in queues).all() & credit),
            synapses.last.eq(close),
        ]
        with m.If(fire.credit):
            m.d.sync += credit.eq(1)
        with m.If(close):
            m.d.sync += [phase.eq(~phase), credit.eq(0)]

        # Groups of counts to the neurons, and their membranes to the readout.
        m.d.comb += [
            passes.layer.eq(fire_program.layer),
            passes.layer_valid.eq(fire_program.valid),
            fire_program.take.eq(passes.layer_take),
            passes.restart.eq(write_en | written),
            fire.next.eq(passes.o),
            fire.next_valid.eq(passes.valid),
            passes.take.eq(fire.next_take),
            fire.closed.eq(synapses.closed),
            fire.readout_free.eq(readout.free),
            neurons.visit.eq(fire.visit),
            neurons.valid.eq(fire.valid),
            neurons.counts.eq(synapses.counts),
            readout.row.eq(neurons.readout),
            readout.row_en.eq(neurons.readout_en),
        ]
        wiring.connect(m, readout.o, wiring.flipped(self.o))

        # A group between the queues and the fire sequencer has taken the credit. The register cuts
        # a path through all blocks; what begins a sample is seen at once.
        drained = Signal(init=1)
        m.d.sync += drained.eq(~(
            fetcher.busy | ~Cat(queue.empty for queue in queues).all() | ~credit |
            fire.busy | neurons.busy | readout.busy))
        m.d.comb += [
            self.busy.eq(~drained | loader.full.any()),
            self.idle.eq(~self.busy & ~loader.partial),
            self.frame.eq(frame),
        ]

        if "trace" in self.signature.members:
            m.d.comb += [
                self.trace.payload.eq(neurons.trace),
                self.trace.valid.eq(neurons.trace_en),
            ]
        return m
