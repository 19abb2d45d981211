"""Tests of the core behind AXI, with models of AXI that others wrote; they run in the simulator.

What is loaded, sent and expected comes from ``test_hw_axi.py``, so that no PyTorch runs here.
"""

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb import Param
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)

from hw.core import Core
from hw.registers import REGISTERS, WORD_BYTES

SCRIPT = json.loads(Path(os.environ["TERNSPIKE_AXI"]).read_text())
OFFSETS = {register.name: register.offset for register in REGISTERS}
IDLE, BUSY, PROGRAM = 1, 2, 4


class System:
    """What surrounds the core in a system on chip: a processor, and a source or sink a stream.

    ``pace`` is the share of the cycles in which each end of each channel moves on.
    """

    def __init__(self, dut, pace: float = 1.0):
        self.dut = dut
        Clock(dut.aclk, 2, unit="ns").start()
        dut.aresetn.value = 0

        def bus(kind, prefix):
            return kind.from_prefix(dut, prefix)

        # The models' types are known at run time only.
        self.processor: Any = AxiLiteMaster(bus(AxiLiteBus, "s_axil"), dut.aclk)
        self.samples = AxiStreamSource(bus(AxiStreamBus, "s_axis_input"), dut.aclk)
        self.weights = AxiStreamSource(bus(AxiStreamBus, "s_axis_weights"), dut.aclk)
        self.results = AxiStreamSink(bus(AxiStreamBus, "m_axis_result"), dut.aclk)
        write, read = self.processor.write_if, self.processor.read_if
        self.channels = {"aw": write.aw_channel, "w": write.w_channel, "b": write.b_channel,
                         "ar": read.ar_channel, "r": read.r_channel}
        if pace < 1:
            for end in (*self.channels.values(), self.samples, self.weights, self.results):
                rng = random.Random(random.getrandbits(32))
                end.set_pause_generator(rng.random() >= pace for _ in itertools.count())

    async def start(self) -> "System":
        """Reset for one cycle only: the core's own reset is longer."""
        await RisingEdge(self.dut.aclk)
        await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        while await self.read("CONTROL"):
            pass
        return self

    async def read(self, register: str) -> int:
        value = await self.try_read(OFFSETS[register])
        assert value is not None
        return value

    async def try_read(self, offset: int) -> int | None:
        """Return a register's value, or None if the read is refused."""
        answer = await self.processor.read(offset, WORD_BYTES)
        if answer.resp == AxiResp.SLVERR:
            assert answer.data == bytes(WORD_BYTES)
            return None
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def write(self, register: str, value: int) -> None:
        assert await self.try_write(OFFSETS[register], words([value]))

    async def try_write(self, offset: int, data: bytes) -> bool:
        """Write a word or a part of one; tell whether that was carried out."""
        answer = await self.processor.write(offset, data)
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        return answer.resp == AxiResp.OKAY

    async def load(self, network) -> None:
        expected = None
        for address, word in network["writes"]:
            if address != expected:
                await self.write("CONFIG_ADDRESS", address)
            await self.write("CONFIG_DATA", word)
            expected = address + 1
        assert await self.read("CONFIG_ADDRESS") == expected

    def send(self, network) -> None:
        for sample in network["samples"]:
            self.samples.send_nowait(bytes(sample))
            if network["weights"]:
                self.weights.send_nowait(words(network["weights"]))

    async def check(self, network) -> None:
        """Run all samples of a network that is loaded, and compare all results."""
        self.send(network)
        for expected in network["results"]:
            frame = await with_timeout(self.results.recv(), 1, "ms")
            assert bytes(frame) == words(expected)


def words(values) -> bytes:
    return b"".join((value & 0xFFFF_FFFF).to_bytes(WORD_BYTES, "little") for value in values)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def test_registers_after_reset(dut):
    system = await System(dut).start()
    for register in REGISTERS:
        if register.access.readable:
            value = await system.read(register.name)
            for field in register.fields:
                part = (value & field.mask) >> field.low
                if field.reset is not None:
                    assert part == field.reset, (register.name, field.name)
    for name, value in SCRIPT["parameters"].items():
        assert await system.read(f"CORE_{name.upper()}") == value
    assert await system.read("STATUS") == IDLE
    assert await system.read("SAMPLE_BEATS") == 0


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(pace=[Param(1.0, name="full"), Param(0.4, name="sparse")])
async def test_networks_one_after_the_other(dut, pace):
    system = await System(dut, pace).start()
    samples = 0
    for network in SCRIPT["networks"]:
        await system.load(network)
        assert await system.read("STATUS") == IDLE | PROGRAM
        assert await system.read("SAMPLE_BEATS") == network["beats"]
        await system.check(network)
        samples += len(network["samples"])
        while await system.read("STATUS") != IDLE | PROGRAM:
            pass
        assert await system.read("SAMPLES_IN") == await system.read("RESULTS_OUT") == samples
    assert await system.read("REFUSED") == 0
    assert await system.read("CYCLES") > 0
    assert system.results.empty()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def test_addresses_of_the_configuration(dut):
    system = await System(dut).start()
    refused = 0
    for address, known in SCRIPT["addresses"]:
        await system.write("CONFIG_ADDRESS", address)
        assert await system.try_write(OFFSETS["CONFIG_DATA"], words([0])) == known, hex(address)
        refused += not known
        assert await system.read("CONFIG_ADDRESS") == (address + known) % (1 << 32)
    assert refused and await system.read("REFUSED") == refused


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def test_refused_accesses_change_nothing(dut):
    system = await System(dut).start()
    network = SCRIPT["networks"][0]
    await system.load(network)
    address, word = network["writes"][0]
    await system.write("CONFIG_ADDRESS", address)
    registers = [register for register in REGISTERS if register.access.readable
                 and register.name not in ("REFUSED", "STATUS")]
    before = [await system.read(register.name) for register in registers]

    refused = 0
    taken = {register.offset for register in REGISTERS}
    free = [offset for offset in range(0, 1 << len(dut.s_axil_awaddr), WORD_BYTES)
            if offset not in taken]
    assert free
    for offset in free:
        assert await system.try_read(offset) is None
        assert not await system.try_write(offset, words([0]))
        refused += 2
    for register in REGISTERS:
        if not register.access.writable:
            assert not await system.try_write(register.offset, words([~0]))
            refused += 1
        if not register.access.readable:
            assert await system.try_read(register.offset) is None
            refused += 1
    # Parts of a word, of each register that can be written.
    for name in ("CONTROL", "CONFIG_ADDRESS", "CONFIG_DATA"):
        for first, count in ((0, 1), (3, 1), (0, 2), (1, 3)):
            assert not await system.try_write(OFFSETS[name] + first, b"\xff" * count)
            refused += 1
    # A part of a sample, so that the core is not idle. It is completed further down.
    sample = bytes(network["samples"][0])
    system.samples.send_nowait(sample[:1])
    while await system.read("STATUS") != PROGRAM:
        pass
    assert not await system.try_write(OFFSETS["CONFIG_DATA"], words([~word]))
    refused += 1

    assert await system.read("REFUSED") == refused
    assert [await system.read(register.name) for register in registers] == before
    system.samples.send_nowait(sample[1:])
    frame = await with_timeout(system.results.recv(), 1, "ms")
    assert bytes(frame) == words(network["results"][0])
    while await system.read("STATUS") != IDLE | PROGRAM:
        pass
    await system.check(network)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def test_channels_wait_for_one_another(dut):
    """Any order of AW and W; a response that nobody takes does not stop the other direction."""
    system = await System(dut).start()
    for first, second in (("aw", "w"), ("w", "aw")):
        system.channels[second].pause = True
        write = system.processor.init_write(OFFSETS["CONFIG_ADDRESS"], words([0x1234]))
        await ClockCycles(dut.aclk, 30)
        assert not write.is_set() and system.channels[first].idle() is False
        assert await system.read("CONFIG_ADDRESS") != 0x1234
        system.channels[second].pause = False
        await write.wait()
        assert await system.read("CONFIG_ADDRESS") == 0x1234
        await system.write("CONFIG_ADDRESS", 0)

    system.channels["b"].pause = True
    writes = [system.processor.init_write(OFFSETS["CONFIG_ADDRESS"], words([value]))
              for value in (1, 2)]
    await ClockCycles(dut.aclk, 30)
    assert await system.read("CONFIG_ADDRESS") == 1              # the second one waits
    system.channels["b"].pause = False
    for write in writes:
        await write.wait()
    assert await system.read("CONFIG_ADDRESS") == 2

    system.channels["r"].pause = True
    read: Any = system.processor.init_read(OFFSETS["CONFIG_ADDRESS"], WORD_BYTES)
    await ClockCycles(dut.aclk, 30)
    await system.write("CONFIG_ADDRESS", 3)
    assert dut.s_axil_rvalid.value == 1 and dut.s_axil_rdata.value.to_unsigned() == 2
    system.channels["r"].pause = False
    await read.wait()
    assert read.data.data == words([2])


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(network=[Param(0, name="resident"), Param(1, name="streamed")])
async def test_reset_within_samples(dut, network):
    """Samples, weights and results are lost wherever they are; the network is not."""
    network = SCRIPT["networks"][network]
    system = await System(dut).start()
    await system.load(network)
    for cycles in (0, 7, 40, 150, 400):
        system.send(network)
        system.send(network)
        await ClockCycles(dut.aclk, cycles)
        await system.write("CONTROL", 1)
        assert await system.read("CONTROL") == 1
        assert await system.read("STATUS") & (IDLE | BUSY) == 0
        assert not await system.try_write(OFFSETS["CONFIG_DATA"], words([0]))
        # All that is still to come is dropped; the sources have sent it, for they can't take it
        # back.
        await with_timeout(system.samples.wait(), 1, "ms")
        await with_timeout(system.weights.wait(), 1, "ms")
        await system.write("CONTROL", 0)
        while await system.read("CONTROL"):
            pass
        assert await system.read("STATUS") == IDLE | PROGRAM
        for name in ("CYCLES", "SAMPLES_IN", "RESULTS_OUT", "REFUSED"):
            assert await system.read(name) == 0
        while not system.results.empty():
            system.results.recv_nowait()
        assert not system.results.active                 # no packet is left without its end
        await system.check(network)
    assert await system.read("SAMPLES_IN") == len(network["samples"])


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def test_reset_within_a_result(dut):
    """A word on offer stays, and its packet ends with a word 0."""
    network = SCRIPT["networks"][0]
    system = await System(dut).start()
    await system.load(network)
    system.results.pause = True
    system.send(network)
    while not dut.m_axis_result_tvalid.value:
        await RisingEdge(dut.aclk)
    first = dut.m_axis_result_tdata.value.to_unsigned()
    for value in (1, 0):
        await system.write("CONTROL", value)
    while await system.read("CONTROL"):
        pass
    assert dut.m_axis_result_tvalid.value == 1
    assert dut.m_axis_result_tdata.value.to_unsigned() == first
    system.results.pause = False
    frame = await with_timeout(system.results.recv(), 1, "ms")
    assert bytes(frame) == words([first, 0])
    await system.check(network)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def test_nothing_is_dropped_after_the_reset_of_the_block(dut):
    """What comes as soon as ``aresetn`` is high waits until the core's reset has ended."""
    network = SCRIPT["networks"][0]
    system = await System(dut).start()
    await system.load(network)
    dut.aresetn.value = 0
    await RisingEdge(dut.aclk)
    dut.aresetn.value = 1
    system.send(network)
    await ClockCycles(dut.aclk, Core.reset_cycles - 2)
    assert dut.s_axis_input_tvalid.value == 1 and dut.s_axis_input_tready.value == 0
    for expected in network["results"]:
        frame = await with_timeout(system.results.recv(), 1, "ms")
        assert bytes(frame) == words(expected)
