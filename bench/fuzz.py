# amaranth: UnusedElaboratable=no
"""Damaged frames against the RTL of the host link, and against a model of it in Python.

``python -m bench.fuzz --frames 100000 --seed 1`` sends damaged frames to a simulated board, at the
pins of its UART. Each must be answered, or dropped, exactly as by a device that was written from
``docs/protocol.md`` alone. Between them, samples must run at once, and give what they gave before.
"""
import argparse
import random
import socket
import struct
import sys
from collections import Counter, deque
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np

from hw.parameters import CoreParameters
from hw.protocol import END, ESC, MAX_FRAME, VERSION, Command, Status
from mapping.program import compile_network
from model.golden import execute
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout
from sim.board import CLOCK, DIVISOR, simulated_board
from ternspike.device import load_requests
from ternspike.framing import Decoder, Frame, encode
from tests.fake_device import FakeDevice, table

__all__ = ["DAMAGES", "Line", "main"]

CORE = CoreParameters(
    banks=2, lanes=8, neurons=2, scan=4, queue_depth=8, weight_depth=64, spike_depth=64,
    neuron_depth=64, gain_depth=64, program_depth=4, readout_depth=8, count_width=6, gain_width=10,
    current_width=18, membrane_width=14)

#: Seconds that an answer may take.
_PATIENCE = 20.0
#: Frames from one look at the network to the next.
_ROUND = 500


class Difference(Exception):
    """The two do not answer the same."""


class Line:
    """The link of a simulated board, beside a model of the device that hears the same."""

    def __init__(self, url: str, model: FakeDevice):
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port), _PATIENCE)
        self._decoder = Decoder()
        self._heard: list[Frame | None] = []
        self.model = model
        self._expected = Decoder()
        self._said: deque[bytes] = deque(maxlen=4)
        self.sequence = 0

    def send(self, line: bytes) -> Frame | None:
        """Send bytes with at most one frame in them; return its answer, if it has one.

        Raises
        ------
        Difference
            If the board does not answer as the model does.
        """
        expected = list(self._expected.feed(self.model.receive(line)))
        self._say(line)
        for answer in expected:
            heard = self._hear()
            if not _same(heard, answer):
                raise Difference(f"{len(line)} bytes are answered with {heard}, not with {answer}: "
                                 f"{line.hex(' ')}")
        return expected[0] if expected else None

    def ask(self, command: Command, payload: bytes = b"") -> bytes:
        """Make a request of the board only, as a host does; return its payload.

        Raises
        ------
        Difference
            If it does not carry it out.
        """
        while True:
            self.sequence = (self.sequence + 1) % 256
            self._say(encode(command, self.sequence, payload))
            answer = self._hear()
            if answer is None or answer.sequence != self.sequence:
                raise Difference(f"{command.name} is answered with {answer}")
            if answer.kind == Status.OK:
                self.model.remember(self.sequence, answer.payload)
                return answer.payload
            if answer.kind != Status.BUSY:
                raise Difference(f"{command.name} is refused with {Status(answer.kind).name}")

    def _say(self, line: bytes) -> None:
        self._said.append(line)
        self._socket.sendall(line)

    def _hear(self) -> Frame | None:
        while not self._heard:
            try:
                data = self._socket.recv(4096)
            except TimeoutError:
                lines = "; ".join(line.hex(" ") for line in self._said)
                raise Difference(f"No answer in {_PATIENCE:g} seconds to the last of {lines}"
                                 ) from None
            if not data:
                raise Difference("The board is gone")
            self._heard += self._decoder.feed(data)
        return self._heard.pop(0)


def _same(heard: Frame | None, answer: Frame | None) -> bool:
    """Return whether answers differ only in what the protocol leaves open."""
    if heard is None or answer is None or heard.kind != answer.kind:
        return False
    # Of a damaged frame nobody knows the sequence number; and a model without hardware does not
    # know the values of counters.
    return heard.kind == Status.BAD_FRAME or (
        (heard.sequence, len(heard.payload)) == (answer.sequence, len(answer.payload)))


def _some(rng: random.Random, few: int, many: int) -> int:
    """Return a length, which rarely is a long one: the line is slow."""
    return rng.randint(few, many) if rng.random() < 0.03 else rng.randint(1, few)


def _flip(rng: random.Random, line: bytearray) -> None:
    for _ in range(rng.choice([1, 1, 2, 8])):
        line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, line: bytearray) -> None:
    begin = rng.randrange(len(line))
    del line[begin:begin + rng.randint(1, len(line))]


def _burst(rng: random.Random, line: bytearray) -> None:
    begin = rng.randrange(len(line))
    size = rng.randint(1, 40)
    line[begin:begin + size] = rng.randbytes(size)


def _insert(rng: random.Random, line: bytearray) -> None:
    begin = rng.randrange(len(line))
    line[begin:begin] = rng.choice([rng.randbytes(rng.randint(1, 20)), bytes([ESC]),
                                    bytes(_some(rng, 8, MAX_FRAME))])


def _replace(rng: random.Random, line: bytearray) -> None:
    line[:] = rng.randbytes(_some(rng, 30, MAX_FRAME + 100))


#: What happens to the bytes of a good frame on the line.
DAMAGES = {"flip": _flip, "cut": _cut, "burst": _burst, "insert": _insert, "replace": _replace}


def _requests(rng: random.Random, sequence: int) -> bytes:
    """Return a request of a host, which may or may not make sense."""
    command = rng.choice([*Command, *Command, 7, 15])
    payload = rng.randbytes(4 * _some(rng, 4, 60) + rng.choice([-4, 0, 0, 1]))
    version = rng.choice([VERSION] * 9 + [rng.randrange(16)])
    return encode(command, sequence, payload[:MAX_FRAME - 6], version=version)


def _wrong(rng: random.Random, sequence: int) -> bytes:
    """Return a request that is whole, and that no device with the network carries out."""
    return encode(*rng.choice([
        (rng.randint(7, 15), sequence, rng.randbytes(rng.randint(0, 40))),
        (Command.HELLO, sequence, rng.randbytes(rng.randint(1, 9))),
        (Command.RESULTS, sequence, rng.randbytes(rng.randint(1, 9))),
        (Command.STATUS, sequence, rng.randbytes(rng.randint(1, 9))),
        (Command.RESET, sequence, rng.randbytes(rng.randint(1, 9))),
        (Command.BAUD, sequence, rng.randrange(4).to_bytes(2, "little")),
        (Command.BAUD, sequence, rng.randbytes(rng.choice([0, 1, 3]))),
        (Command.WRITE, sequence, rng.randbytes(rng.choice([0, 3, 4, 7, 9, 33]))),
        (Command.WRITE, sequence, struct.pack("<2I", 15 << 28 | rng.randrange(1 << 28), 1)),
        (Command.WRITE, sequence, struct.pack("<3I", 1 << 28 | rng.randint(9, 99), 1, 1)),
        (Command.INPUT, sequence, b""),
        (Command.INPUT, sequence, rng.randbytes(_some(rng, 30, 500) + 12)),
    ]))


def damaged(rng: random.Random, sequence: int) -> Iterator[tuple[str, bytes]]:
    """Yield (damage, bytes): a frame, in pieces of which each ends a frame at most once."""
    if rng.random() < 0.2:
        yield "wrong", _wrong(rng, (sequence + rng.randint(1, 255)) % 256)
        return
    line = bytearray(_requests(rng, sequence))
    name = rng.choice(list(DAMAGES))
    DAMAGES[name](rng, line)
    for piece in bytes(line).split(bytes([END])):
        yield name, piece + bytes([END])


def _whole(line: bytes) -> bool:
    """Return whether the damage left a good frame, which would be carried out."""
    return any(frame is not None and frame.version == VERSION for frame in Decoder().feed(line))


def _network() -> tuple[IntegerNetwork, np.ndarray]:
    rng = np.random.default_rng(1)

    def layer(inputs: int, outputs: int, readout: Readout | None = None) -> DenseLayer:
        return DenseLayer(
            weights=rng.integers(-1, 2, (outputs, inputs)),
            gain_plus=rng.integers(1, 9, outputs), gain_minus=rng.integers(1, 9, outputs),
            bias=rng.integers(-4, 5, outputs), leak=(), membrane_bits=12,
            threshold=np.zeros(outputs, int) if readout else rng.integers(1, 40, outputs),
            readout=readout)

    network = IntegerNetwork(input=InputCoding.STATIC, input_bits=4, timesteps=3,
                             layers=(layer(21, 19), layer(19, 5, Readout.SUM)))
    return network, rng.integers(0, 16, (2, 21)).astype(np.uint8)


def run(line: Line, frames: int, seed: int, tell=print) -> Counter[str]:
    """Send damaged frames; return how many there were, by damage and by answer.

    Raises
    ------
    Difference
        If one is not answered as it should be, or changes something.
    """
    network, inputs = _network()
    program = compile_network(network, CORE)
    for payload in load_requests(program):
        line.model.receive(encode(Command.WRITE, line.sequence + 1, payload))
        line.ask(Command.WRITE, payload)
    golden = execute(network, inputs, record=False)
    beats = program.pack_inputs(inputs)

    def look() -> None:
        """Run the samples: nothing of the network may have changed, and no sample begun."""
        for sample, readout, winner in zip(beats, golden.readout, golden.classes, strict=True):
            line.ask(Command.INPUT, sample.tobytes())
            words: tuple[int, ...] = ()
            while len(words) <= len(readout):
                payload = line.ask(Command.RESULTS)
                words += struct.unpack(f"<{len(payload) // 4}i", payload)
            if words != (*readout, winner):
                raise Difference(f"A sample gives {words}, not {(*readout, winner)}")

    rng, seen = random.Random(seed), Counter()
    look()
    while seen["frames"] < frames:
        for name, piece in damaged(rng, line.sequence):
            if name != "wrong" and _whole(piece):
                continue
            answer = line.send(piece)
            seen["frames"] += 1
            seen[name] += 1
            seen["dropped" if answer is None else Status(answer.kind).name] += 1
            if seen["frames"] % _ROUND == 0:
                look()
                tell(f"{seen['frames']} frames, as documented")
    look()
    return seen


def main(arguments: list[str] | None = None) -> int:
    """Send damaged frames; return 1 at the first that is not treated as documented."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000, help="how many (default 100000)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default 1)")
    options = parser.parse_args(arguments)
    network, inputs = _network()
    model = FakeDevice(CORE, table(network, CORE, inputs), clock=CLOCK, divisor=DIVISOR)
    print(f"seed {options.seed}")
    with simulated_board(CORE) as url:
        try:
            seen = run(Line(url, model), options.frames, options.seed,
                       lambda text: print(text, flush=True))
        except Difference as difference:
            print(f"bench.fuzz: seed {options.seed}: {difference}", file=sys.stderr)
            return 1
    print(", ".join(f"{name} {count}" for name, count in sorted(seen.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
