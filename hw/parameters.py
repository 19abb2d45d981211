"""The parameters of a core, fixed when it is elaborated, and the presets that we measure."""
from dataclasses import asdict, dataclass, fields

__all__ = ["CoreParameters", "PRESETS"]


@dataclass(frozen=True, kw_only=True)
class CoreParameters:
    """Shape of one core.

    The *slots* of a core, ``banks * lanes * planes``, are the synapse-planes that it counts in
    one cycle.

    Parameters
    ----------
    banks : :class:`int`
        Spike banks K. Channel ``c`` of a layer lives in bank ``c % banks``; one spike of each
        bank is taken a cycle.
    lanes : :class:`int`
        Output neurons L fed at once; a multiple of ``banks``, so that the output of a tile fills
        whole columns of the spike memory.
    planes : :class:`int`
        Bit planes P (time steps, or significances of an input) counted at once.
    neurons : :class:`int`
        Neuron units U: lanes fired a cycle, for one step. Divides ``lanes``.
    scan : :class:`int`
        Bits of each bank that the fetcher reads a cycle, a power of two; ``banks * scan`` is
        ``lanes`` times a power of two.
    queue_depth : :class:`int`
        Words that a bank may run ahead of the others, some of them on their way: a power of two.
    weight_depth, spike_depth, program_depth, readout_depth : :class:`int`
        Words of a weight bank, rows of the spike memory, layers of a program, neurons of a
        readout layer.
    pool_depth : :class:`int`
        Planes of output spikes, over all steps, that a layer with max pooling may have.
    map_width : :class:`int`
        Bits of a coordinate in a map of pixels. Without any, the core takes dense layers with one
        source only, and has no logic for others.
    step_width, tile_width : :class:`int`
        Bits of the index of a time step, and of a tile of a layer.
    neuron_depth, gain_depth : :class:`int`
        Rows, of ``neurons`` each, of the memories of biases and thresholds, and of gains. A layer
        has gains for each bit plane of its source in a step, and thresholds for each of its own.
    count_width : :class:`int`
        Bits of an accumulator: largest number of spikes that one neuron may receive on its plus
        (or minus) synapses in one plane.
    gain_width : :class:`int`
        Bits of the signed gains, the weight of a bit plane included.
    current_width : :class:`int`
        Bits of the signed input current, of the bias and of a readout.
    membrane_width : :class:`int`
        Bits of the signed membrane; a layer may saturate at fewer.
    leak_terms, leak_shift_max : :class:`int`
        Terms ``v >> k`` of the leak that the neuron units have, and the largest ``k``.
    single_port : :class:`bool`
        Weights and gains lie in single-port memories, as the iCE40's SPRAM is one. Weights can't
        be streamed then.
    block_currents : :class:`bool`
        Currents wait in block RAM, otherwise in LUT RAM or registers.
    block_membranes : :class:`bool`
        Membranes do; a lane then may be visited one cycle later.

    Raises
    ------
    :exc:`TypeError`
        If a parameter is not of its type.
    :exc:`ValueError`
        If a parameter is out of range, or parameters do not go together.
    """

    banks:           int
    lanes:           int
    planes:          int = 1
    neurons:         int
    scan:            int
    queue_depth:     int = 16
    weight_depth:    int = 512
    spike_depth:     int = 512
    neuron_depth:    int = 512
    gain_depth:      int = 512
    program_depth:   int = 16
    readout_depth:   int = 256
    pool_depth:      int = 64
    map_width:       int = 10
    step_width:      int = 12
    tile_width:      int = 12
    count_width:     int = 10
    gain_width:      int = 16
    current_width:   int = 24
    membrane_width:  int = 20
    leak_terms:      int = 1
    leak_shift_max:  int = 4
    single_port: bool = False
    block_currents:  bool = True
    block_membranes: bool = False

    #: What each parameter may be; both ends included.
    LIMITS = {
        "banks": (1, 256), "lanes": (1, 1024), "planes": (1, 16), "neurons": (1, 256),
        "scan": (1, 256), "queue_depth": (8, 1024),
        "weight_depth": (2, 1 << 20), "spike_depth": (2, 1 << 16), "neuron_depth": (2, 1 << 16),
        "gain_depth": (2, 1 << 16),
        "program_depth": (2, 256), "readout_depth": (2, 1 << 12),
        "pool_depth": (2, 1 << 12), "map_width": (0, 12), "step_width": (4, 12),
        "tile_width": (4, 12),
        "count_width": (2, 24), "gain_width": (3, 18), "current_width": (8, 32),
        "membrane_width": (4, 32), "leak_terms": (0, 2), "leak_shift_max": (1, 15),
    }

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is bool:
                if not isinstance(value, bool):
                    raise TypeError(f"Core parameter {field.name} must be a bool, not {value!r}")
                continue
            low, high = self.LIMITS[field.name]
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"Core parameter {field.name} must be an integer, not {value!r}")
            if not low <= value <= high:
                raise ValueError(f"Core parameter {field.name} must be in {low}..{high}, "
                                 f"not {value!r}")
        for name, value, unit, divisor in (
                ("lanes",        self.lanes, "banks", self.banks),
                ("lanes",        self.lanes, "neurons", self.neurons),
                ("banks * scan", self.row_width, "lanes", self.lanes)):
            if value % divisor:
                raise ValueError(f"Core parameter {name} ({value}) must be a multiple of "
                                 f"{unit} ({divisor})")
        for name, value in (("queue_depth", self.queue_depth), ("scan", self.scan),
                            ("banks * scan / lanes", self.row_tiles)):
            if value & value - 1:
                raise ValueError(f"Core parameter {name} must be a power of two, not {value!r}")
        if self.membrane_width > self.current_width:
            raise ValueError(f"Core parameter membrane_width ({self.membrane_width}) must not "
                             f"exceed current_width ({self.current_width})")

    @property
    def row_width(self) -> int:
        """Channels in a row of the spike memory."""
        return self.banks * self.scan

    @property
    def row_tiles(self) -> int:
        """Tiles of ``lanes`` channels in a row of the spike memory."""
        return self.row_width // self.lanes

    @property
    def tile_columns(self) -> int:
        """Columns of ``banks`` channels that a tile takes in the spike memory."""
        return self.lanes // self.banks

    @property
    def tile_groups(self) -> int:
        """Visits of the neuron units that a whole tile takes for one step."""
        return self.lanes // self.neurons

    @property
    def slots(self) -> int:
        """Synapse-planes counted in one cycle."""
        return self.banks * self.lanes * self.planes

    def to_dict(self) -> dict[str, int]:
        """Return the parameters by name."""
        return asdict(self)


#: Cores by name. ``docs/results.md`` has the table that decided them.
PRESETS = {
    # For the iCE40 UP5K: two banks of 2 x 8 weight bits take one of its SPRAMs each, the gains of
    # the neuron unit the other two.
    "tiny": CoreParameters(
        banks=2, lanes=8, neurons=1, scan=8,
        weight_depth=16384, spike_depth=1024, neuron_depth=256, gain_depth=16384, program_depth=4,
        count_width=9, gain_width=15, current_width=22, map_width=0,
        step_width=8, tile_width=8,
        single_port=True, block_membranes=True),
    "small": CoreParameters(
        banks=8, lanes=32, neurons=4, scan=8, weight_depth=1024, gain_depth=1024),
    "medium": CoreParameters(
        banks=16, lanes=64, neurons=16, scan=8),
    "large": CoreParameters(
        banks=16, lanes=128, neurons=16, scan=8),
}
