# amaranth: UnusedElaboratable=no
"""Proofs: every output stream of the gateware keeps the stream contract."""

import importlib
import inspect
import pkgutil

import pytest
from amaranth.lib import wiring

import hw
from hw.axi_lite import AXILite
from hw.core import Core
from hw.host_link import HostLink
from hw.linked_core import LinkedCore
from hw.parameters import CoreParameters
from hw.readout import Readout
from hw.result_words import ResultWords
from hw.slip import SlipDecoder, SlipEncoder
from hw.spi import SpiPeripheral
from hw.uart import UartReceiver
from tests.formal.stream_contract import ContractBroken, output_streams, prove
from tests.stages import Difference, LeakyDifference, Lossy

pytestmark = pytest.mark.formal

#: As small as a core can be, so that a proof takes seconds.
CORE = CoreParameters(
    banks=2, lanes=2, planes=1, neurons=1, scan=2, queue_depth=8, weight_depth=4, spike_depth=4,
    neuron_depth=4, program_depth=2, readout_depth=4, count_width=2, gain_width=3,
    current_width=8, membrane_width=4, leak_terms=0)

#: A small one of each component with an output stream, and the cycles until it can stall.
COMPONENTS = {
    "Core":    (lambda: Core(CORE), None),
    "Readout": (lambda: Readout(CORE), 8),
    "AXILite": (lambda: AXILite(4), 8),
    "ResultWords": (lambda: ResultWords(CORE), 8),
    "SlipDecoder": (SlipDecoder, 5),
    "SlipEncoder": (SlipEncoder, 5),
    "UartReceiver":  (lambda: UartReceiver(4), 20),
    "SpiPeripheral": (SpiPeripheral, 25),
    "HostLink":   (lambda: HostLink(CORE, clock=1000, divisor=4), None),
    "LinkedCore": (lambda: LinkedCore(CORE, clock=1000, divisor=4), None),
}


#: What they offer is what they are offered.
WITHOUT_REGISTER = {"SlipDecoder"}


@pytest.mark.parametrize("name", COMPONENTS)
def test_contract(name, tmp_path):
    make, cover = COMPONENTS[name]
    component = make()
    assert output_streams(component)
    prove(component, tmp_path, cover=cover, held_inputs=name in WITHOUT_REGISTER)


def test_every_output_stream_has_a_proof():
    modules = [importlib.import_module(f"hw.{info.name}")
               for info in pkgutil.iter_modules(hw.__path__)]
    producers = {
        name for module in modules for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, wiring.Component)
        and value.__module__ == module.__name__ and "Out(stream." in inspect.getsource(value)}
    assert producers == set(COMPONENTS)


def test_correct_stage(tmp_path):
    prove(Difference(), tmp_path)


def test_stage_that_drops_what_it_offered(tmp_path):
    with pytest.raises(ContractBroken, match=r"Assert failed"):
        prove(Lossy(), tmp_path)


def test_stage_that_waits_for_ready(tmp_path):
    with pytest.raises(ContractBroken, match=r"selection is not empty"):
        prove(LeakyDifference(), tmp_path)
