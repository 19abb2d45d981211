"""Tests of the stream agents on a small stage; they run inside the simulator."""

import random

import cocotb
from cocotb import Param

from sim.layout import pack, unpack
from sim.stream import Bench, Monitor, Sink, Source, always, bernoulli
from tests.stages import OPERANDS, RESULT

WORDS = 300


def _sparse():
    return bernoulli(0.3, random.Random(random.getrandbits(32)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(
    i_pace=[Param(lambda: always, name="full"), Param(_sparse, name="sparse")],
    o_pace=[Param(lambda: always, name="full"), Param(_sparse, name="sparse")],
)
async def test_all_words_arrive_in_order(dut, i_pace, o_pace):
    operands = {
        "a": [random.randrange(-32, 32) for _ in range(WORDS)],
        "b": [random.randrange(-16, 16) for _ in range(WORDS)],
        "tag": [n % 8 for n in range(WORDS)],
    }
    words = [int.from_bytes(word.tobytes(), "little") for word in pack(OPERANDS, operands)]
    source = Source(dut, "i", words, i_pace())
    sink, monitor = Sink(dut, "o", o_pace()), Monitor(dut, "o")
    bench = Bench(dut, [source, sink, monitor])
    await bench.reset()
    assert await bench.run(lambda: sink.count == WORDS, cycles=100 * WORDS)
    assert bench.cycle == bench.last
    if i_pace() is always and o_pace() is always:
        assert bench.cycle <= WORDS + 3              # a word every cycle

    cycles, words = sink.take()
    results = unpack(RESULT, words)
    assert results["value"].tolist() == [
        a - b for a, b in zip(operands["a"], operands["b"], strict=True)]
    assert results["tag"].tolist() == operands["tag"]
    assert (cycles[1:] > cycles[:-1]).all()
    assert len(sink.take()[0]) == 0
    # A monitor sees every cycle in which a word is offered.
    assert monitor.count >= WORDS

    # Nothing more comes.
    assert not await bench.run(lambda: True, cycles=20)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def test_offer_is_held(dut):
    """The source does not take back what the design does not accept."""
    source = Source(dut, "i", [1, 2, 3], bernoulli(0.5, random.Random(1)))
    bench = Bench(dut, [source])
    dut.o__ready.value = 0
    await bench.reset()
    # The stage holds one word; the second is offered from then on.
    assert not await bench.run(lambda: source.done, cycles=50)
    for _ in range(50):
        assert not await bench.run(lambda: True, cycles=1)
        assert dut.i__valid.value == 1
        assert dut.i__payload.value.to_unsigned() == 2
