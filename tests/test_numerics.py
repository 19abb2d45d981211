"""The test vectors and the example of docs/numerics.md."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.golden import execute
from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    Readout,
    Reset,
)

ROOT = Path(__file__).parents[1]
VECTORS = {vector["name"]: vector
           for vector in json.loads((ROOT / "tests/vectors/numerics.json").read_text())}


def network_of(described):
    """Build a network from its description in the vectors."""
    layers = tuple(map(layer_of, described["layers"]))
    more = {name: described[name] for name in ("input_shape", "input_signed") if name in described}
    return IntegerNetwork(InputCoding(described["input"]), described["input_bits"],
                          described["timesteps"], layers, **more)


def layer_of(described):
    """Build a layer from its description; what is not there is as the class has it."""
    arrays = ("weights", "gain_plus", "gain_minus", "bias", "threshold")
    fields: dict[str, Any] = {
        name: np.array(value) if name in arrays and isinstance(value, list) else value
        for name, value in described.items()}
    kind = fields.pop("kind", "dense")
    for name, choices in (("reset", Reset), ("readout", Readout), ("operation", Merge)):
        if fields.get(name) is not None:
            fields[name] = choices(fields[name])
    return {"dense": DenseLayer, "conv": ConvLayer, "merge": MergeLayer}[kind](**fields)


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name):
    vector = VECTORS[name]
    trace = execute(network_of(vector["network"]), np.array(vector["inputs"]))
    assert [layer.tolist() for layer in trace.spikes] == vector["spikes"]
    assert [layer.tolist() for layer in trace.membranes] == vector["membranes"]
    assert trace.readout.tolist() == vector["readout"]
    assert trace.classes.tolist() == vector["classes"]


def example_rows():
    """Compute the table of the page: the first neuron of `order` with its first sample."""
    vector = VECTORS["order"]
    v, current, threshold = 20, 52, 60
    for step in range(vector["network"]["timesteps"]):
        leaked = v - (v >> 2)
        integrated = leaked + current
        saturated = min(max(integrated, -64), 63)
        fired = saturated >= threshold
        stored = saturated - threshold if fired else saturated
        assert vector["membranes"][0][0][step][0] == stored
        assert vector["spikes"][0][0][step][0] == fired
        row = (step, v, leaked, integrated, saturated, int(fired), stored)
        yield "| " + " | ".join(map(str, row)) + " |"
        v = stored


def test_example_of_the_page():
    page = (ROOT / "docs/numerics.md").read_text()
    assert "\n".join(["| --- | --- | --- | --- | --- | --- | --- |", *example_rows()]) in page


def test_every_vector_is_on_the_page():
    page = (ROOT / "docs/numerics.md").read_text()
    for name, vector in VECTORS.items():
        assert f"| `{name}` | {vector['shows']} |" in page
