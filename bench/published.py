"""The peers: open spiking accelerators, all measured on one open flow.

Flow: Yosys ``synth_ecp5``, nextpnr-ecp5, LFE5U-85 CABGA381 speed 6, seed 1, 100 MHz asked;
measured in November 2026. COMB is nextpnr's TRELLIS_COMB (LUT4 sites, carry and distributed RAM
included). Cycles are from the first input to idle.
"""
from dataclasses import dataclass, field

__all__ = ["FLOW", "PEERS", "Peer"]

#: Where the figures come from, for the head of the tables.
FLOW = ("Yosys synth_ecp5 and nextpnr-ecp5, LFE5U-85 CABGA381 speed 6, seed 1, 100 MHz asked; "
        "peers measured in November 2026")


@dataclass(frozen=True)
class Peer:
    """What was measured of one accelerator; None where it was not.

    Parameters
    ----------
    name, workload : str
        The workload is that of ``cycles``.
    comb, lut4, ff, ram, mult : int
        TRELLIS_COMB, LUT4 of Yosys, flip-flops, DP16KD, MULT18X18D.
    fmax : float
        MHz.
    cycles : tuple of int
        A sample at 5, 10 and 20 % activity.
    cycles_per_sop : float
        At 10 %, a synaptic operation being a (spike, target neuron) pair with a non-zero weight.
    rate : float
        Millions of them a second, for each 1,000 COMB.
    forms : dict of str
        How a field is written if not plainly, such as ``rate="<= {}"``.
    """

    name: str
    workload: str = ""
    comb: int | None = None
    lut4: int | None = None
    ff: int | None = None
    ram: int | None = None
    mult: int | None = None
    fmax: float | None = None
    cycles: tuple[int | None, ...] = (None, None, None)
    cycles_per_sop: float | None = None
    rate: float | None = None
    forms: dict[str, str] = field(default_factory=dict)

    @property
    def milliseconds(self) -> float | None:
        """Time of a sample at Fmax and 10 % activity."""
        cycles = self.cycles[1]
        return None if cycles is None or self.fmax is None else cycles / self.fmax / 1000


PEERS = (
    Peer("tinyODIN", "W1", comb=2981, lut4=2809, ff=1810, ram=17, mult=0, fmax=37.5,
         cycles=(69174, 137734, 269718), cycles_per_sop=4.18, rate=3.0),
    # Sweeps all synapses: its operations are all pairs, zeros included.
    Peer("ODIN", "W1", comb=13522, lut4=11150, ff=4513, ram=20, mult=1, fmax=19.8,
         cycles=(72704, 140174, 270948), cycles_per_sop=2.11, rate=0.7,
         forms={"cycles_per_sop": "{} (dense)", "rate": "{} (dense)"}),
    # Some of its memories were lost in synthesis: area is a lower bound, so the rate an upper one.
    Peer("YANA, one core", "W1 + readout", comb=3345, lut4=2577, ff=2605, ram=14, mult=4,
         fmax=65.6, cycles=(None, 34146, 67107), cycles_per_sop=1.02, rate=19,
         forms={"comb": ">= {}", "lut4": ">= {}", "ff": ">= {}", "ram": ">= {}", "rate": "<= {}"}),
    Peer("Spiker+ 784-128-10", "W2", comb=18272, lut4=12392, ff=3414, ram=31, mult=0, fmax=44.5,
         cycles=(9856, 9856, 9856), cycles_per_sop=0.18, rate=13.6,
         forms={"cycles_per_sop": "about {}", "rate": "about {}"}),
    # The whole network is logic; it does not scale past a few hundred synapses.
    Peer("TENNLab RISP 32-16", "hard-wired, a step a cycle", comb=2695, lut4=2231, ff=208, ram=0,
         mult=0, fmax=72.2, cycles_per_sop=0.04, rate=680, forms={"rate": "about {}"}),
    Peer("snn-fpga, 16x16 tiles", lut4=75760, ff=5190, ram=60, mult=1),
)
