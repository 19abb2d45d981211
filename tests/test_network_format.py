"""The network's file: exact round trips, its documentation, and whatever else may be in a file."""

import enum
import json
import os
import struct
import tracemalloc
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network import (
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Merge,
    MergeLayer,
    NetworkError,
    Readout,
    Reset,
)
from model.network_format import encode, stored_arrays
from model.weight_codes import pack_sparse, pack_trits, unpack_sparse, unpack_trits
from tests.networks import any_network

LAYER: dict[str, Any] = dict(
    weights=np.array([[1, 0, -1], [0, 1, 1]]), gain_plus=np.array([3, 4]),
    gain_minus=np.array([16, 16]), bias=np.array([-5, 300]), threshold=np.array([7, 70000]),
    leak=(1, 3), reset=Reset.HARD, v_init=-9, membrane_bits=20, z_max=5)
READOUT: dict[str, Any] = dict(
    weights=np.array([[1, -1]]), gain_plus=np.array([0]), gain_minus=np.array([2**31 - 1]),
    bias=np.array([-2**31]), threshold=np.array([0]), readout=Readout.SUM)
NETWORK: dict[str, Any] = dict(
    input=InputCoding.STATIC, input_bits=8, timesteps=4, metadata={"made by": "a tést"})


def layer(**changes):
    return DenseLayer(**(LAYER | changes))


def network(**changes):
    fields: dict[str, Any] = dict(layers=(layer(), DenseLayer(**READOUT)))
    return IntegerNetwork(**(NETWORK | fields | changes))


def convolutions(**changes):
    """Return a network with a layer of each kind and every member of it in use."""
    def conv(shape: tuple[int, ...], **fields: Any):
        return ConvLayer(
            weights=np.resize([1, 0, -1, -1], shape), gain_plus=np.arange(shape[0]),
            gain_minus=np.full(shape[0], 300), bias=np.arange(shape[0]) - 2,
            threshold=np.full(shape[0], 9), **fields)

    layers = (
        conv((4, 2, 3, 2), stride=(2, 1), padding=(1, 0), pool=(1, 2), sum_pool=(1, 2), z_max=3),
        conv((4, 2, 3, 3), groups=2, padding=(1, 1), signed=True),
        MergeLayer(Merge.ADD, (0, 1), z_max=3, reset=Reset.SOFT, membrane_bits=9, signed=True),
        layer(weights=np.resize([1, -1, 0], (2, 8)), sources=(2, 1), sum_pool=(3, 1), window=2),
        DenseLayer(**READOUT))
    fields: dict[str, Any] = dict(
        input=InputCoding.SAMPLES, input_bits=5, timesteps=6, layers=layers,
        input_shape=(2, 6, 6), input_signed=True)
    return IntegerNetwork(**(fields | changes))


def fields_of(each):
    """Return the fields as values that compare."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(each).items()
            if name not in ("layers", "metadata", "_places")}


def assert_same(one, other):
    assert fields_of(one) == fields_of(other)
    assert dict(one.metadata) == dict(other.metadata)
    assert [fields_of(x) for x in one.layers] == [fields_of(x) for x in other.layers]


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 1 << 32))
def test_trits_round_trip(outputs, inputs, seed):
    weights = np.random.default_rng(seed).integers(-1, 2, (outputs, inputs)).astype(np.int8)
    packed = pack_trits(weights)
    assert packed.dtype == np.uint8 and len(packed) == -(-outputs * inputs // 5)
    assert np.array_equal(unpack_trits(packed, outputs, inputs), weights)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 1 << 32))
def test_sparse_weights_round_trip(outputs, inputs, seed):
    weights = np.random.default_rng(seed).integers(-1, 2, (outputs, inputs)).astype(np.int8)
    nonzero = int(np.count_nonzero(weights))
    packed = pack_sparse(weights)
    assert packed.dtype == np.uint8 and len(packed) == -(-(outputs * inputs + nonzero) // 8)
    assert np.array_equal(unpack_sparse(packed, nonzero, outputs, inputs), weights)


@pytest.mark.parametrize("nonzero, bytes", [(0, 5), (19, 8), (24, 8), (25, 8), (40, 8)])
def test_weights_are_stored_as_they_take_fewer_bytes(nonzero, bytes):
    """40 weights take 8 bytes, or 5 and a bit for each that is not 0."""
    weights = np.zeros((2, 20), np.int8)
    weights.flat[:nonzero] = 1
    stored = stored_arrays(layer(weights=weights))["weights"]
    assert stored.nbytes == bytes
    unpacked = (unpack_sparse(stored, nonzero, 2, 20) if nonzero < 17
                else unpack_trits(stored, 2, 20))
    assert np.array_equal(unpacked, weights)


@pytest.mark.parametrize("static", [True, False])
def test_round_trip_is_exact_and_deterministic(tmp_path, static):
    net = network() if static else network(input=InputCoding.SPIKES, input_bits=1)
    net.save(tmp_path / "net.safetensors")
    loaded = IntegerNetwork.load(tmp_path / "net.safetensors")
    assert_same(loaded, net)
    assert encode(loaded) == (tmp_path / "net.safetensors").read_bytes()
    shuffled = network(metadata={"b": "2", "a": "1"})
    assert encode(shuffled) == encode(network(metadata={"a": "1", "b": "2"}))


@pytest.mark.parametrize("seed", range(30))
def test_round_trip_of_networks_of_maps(tmp_path, seed):
    net = convolutions() if not seed else any_network(seed)
    net.save(tmp_path / "net.safetensors")
    loaded = IntegerNetwork.load(tmp_path / "net.safetensors")
    assert_same(loaded, net)
    assert [type(each) for each in loaded.layers] == [type(each) for each in net.layers]
    assert encode(loaded) == (tmp_path / "net.safetensors").read_bytes()


def read_as_documented(path):
    """Read a file by docs/network-format.md alone: json, struct and NumPy."""
    content = path.read_bytes()
    length, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    document = json.loads(header["__metadata__"]["ternspike"])
    data = content[8 + length:]

    def tensor(name):
        entry = header[name]
        dtype = "<" + {"U": "u", "I": "i"}[entry["dtype"][0]] + str(int(entry["dtype"][1:]) // 8)
        first, end = entry["data_offsets"]
        return np.frombuffer(data[first:end], dtype).tolist()

    layers = []
    for n, described in enumerate(document["layers"]):
        layers.append(dict(described))
        if described["kind"] == "merge":
            continue
        shape = [described["outputs"], described["inputs"]]
        if described["kind"] == "conv":
            shape = [shape[0], shape[1] // described["groups"], *described["kernel"]]
        packed, count = tensor(f"layers.{n}.weights"), int(np.prod(shape))
        if layers[n].pop("nonzero") is None:
            digits = [packed[k // 5] // 3 ** (k % 5) % 3 for k in range(count)]
            weights = [[0, 1, -1][d] for d in digits]
        else:
            bits = [packed[k // 8] >> k % 8 & 1 for k in range(8 * len(packed))]
            signs = iter(bits[count:])
            weights = [(-1 if next(signs) else 1) if bit else 0 for bit in bits[:count]]
        layers[n]["weights"] = np.reshape(weights, shape).tolist()
        names = ["gain_plus", "gain_minus", "bias"]
        if described["readout"] is None:
            names.append("threshold")
        layers[n] |= {name: tensor(f"layers.{n}.{name}") for name in names}
    return document, layers


def plain(value):
    """Return what JSON holds in the place of a field's value."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("net", [
    network(layers=(layer(weights=np.resize([1, -1, 0, 0], (2, 23))), DenseLayer(**READOUT))),
    network(layers=(layer(weights=np.resize([1, -1, 1], (2, 23))), DenseLayer(**READOUT))),
    convolutions(metadata={"made by": "a tést"})])
def test_a_stranger_can_read_it(tmp_path, net):
    net.save(tmp_path / "net.safetensors")
    document, layers = read_as_documented(tmp_path / "net.safetensors")
    assert document["format"] == "ternspike integer network" and document["version"] == 4
    assert document["metadata"] == {"made by": "a tést"}
    for name in ("input", "input_bits", "input_shape", "input_signed", "timesteps"):
        assert document[name] == plain(getattr(net, name))
    kinds = {DenseLayer: "dense", ConvLayer: "conv", MergeLayer: "merge"}
    for found, true in zip(layers, net.layers, strict=True):
        assert found.pop("kind") == kinds[type(true)]
        for name in ("inputs", "outputs", "kernel"):
            if name in found:
                assert found.pop(name) == plain(getattr(true, name))
        found.setdefault("threshold", [0])
        assert found == {field.name: plain(getattr(true, field.name)) for field in fields(true)}


OLD = {1: ("nonzero", "signed", "sources", "window", "sum_pool", "z_max"),
       2: ("nonzero", "signed", "sources", "window", "sum_pool"),
       3: ("nonzero",)}


@pytest.mark.parametrize("version, z_max", [(1, 1), (2, 5), (3, 5)])
def test_earlier_versions_can_be_read(tmp_path, version, z_max):
    header, document, data = taken_apart(encode(network()))
    if version < 3:
        del document["input_shape"], document["input_signed"]
    for described in document["layers"]:
        for name in OLD[version]:
            del described[name]
    path = tmp_path / "old.safetensors"
    path.write_bytes(put_together(header, document | {"version": version}, data))
    wanted = network(layers=(layer(z_max=z_max), DenseLayer(**READOUT)))
    assert_same(IntegerNetwork.load(path), wanted)


def test_documented_examples_of_packing():
    weights = np.array([[1, 0, -1, -1, 1, -1]], np.int8)
    assert pack_trits(weights).tolist() == [154, 2]
    assert pack_sparse(weights).tolist() == [0b10_111101, 0b101]


def taken_apart(content):
    """Split a file in header, document and data."""
    length, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    return header, json.loads(header["__metadata__"]["ternspike"]), content[8 + length:]


def put_together(header, document, data):
    """Make a file of its parts, which may be wrong."""
    header = dict(header)
    if document is not None:
        header["__metadata__"] = {"ternspike": json.dumps(document)}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def document_with(**changes):
    def change(header, document, data):
        return put_together(header, document | changes, data)
    return change


def layer_with(number=0, **changes):
    def change(header, document, data):
        document["layers"][number].update(changes)
        return put_together(header, document, data)
    return change


def layer_without(name):
    def change(header, document, data):
        del document["layers"][0][name]
        return put_together(header, document, data)
    return change


def tensor_with(name, **changes):
    def change(header, document, data):
        header[name].update(changes)
        return put_together(header, document, data)
    return change


def data_with(name, first_byte):
    def change(header, document, data):
        data = bytearray(data)
        data[header[name]["data_offsets"][0]] = first_byte
        return put_together(header, document, bytes(data))
    return change


def document_without(name):
    def change(header, document, data):
        del document[name]
        return put_together(header, document, data)
    return change


def header_text(text):
    return lambda header, document, data: struct.pack("<Q", len(text)) + text + data


def without_tensor(header, document, data):
    del header["layers.0.bias"]
    return put_together(header, document, data)


def extra_tensor(header, document, data):
    header["x"] = {"dtype": "U8", "shape": [0], "data_offsets": [len(data), len(data)]}
    return put_together(header, document, data)


def overlapping(header, document, data):
    start, stop = header["layers.0.gain_plus"]["data_offsets"]
    header["layers.0.gain_minus"]["data_offsets"] = [start, stop]
    return put_together(header, document, data)


def duplicate_key(header, document, data):
    text = json.dumps(document)[:-1] + ', "timesteps": 1}'
    header["__metadata__"] = {"ternspike": text}
    return put_together(header, None, data)


def nested(header, document, data):
    header["__metadata__"] = {"ternspike": "[" * 100000}
    return put_together(header, None, data)


HOSTILE = {
    "empty": (lambda h, d, b: b"", "header: is truncated: 0 bytes"),
    "only a length": (lambda h, d, b: b"\0" * 7, "header: is truncated: 7 bytes"),
    "a text file": (lambda h, d, b: b"not a network at all", "header: claims"),
    "absurd header": (lambda h, d, b: b"\xff" * 16, "header: claims 18446744073709551615 bytes"),
    "short header": (lambda h, d, b: struct.pack("<Q", 99) + b"{}", "header: is truncated: it cl"),
    "not UTF-8": (header_text(b'{"\xff": 1}'), "header: is not JSON in UTF-8"),
    "not JSON": (header_text(b"{"), "header: is not JSON in UTF-8"),
    "a list": (header_text(b"[]"), "header: is .* a JSON object"),
    "deep": (nested, "ternspike: is not JSON"),
    "NaN": (header_text(b'{"a": NaN}'), "header: holds NaN"),
    "a key twice": (header_text(b'{"a": 1, "a": 2}'), "header: has an object with a key twice"),
    "a key twice below": (duplicate_key, "ternspike: has an object with a key twice"),
    "another safetensors file": (lambda h, d, b: put_together({}, None, b""),
                                 "__metadata__: is not an integer network"),
    "metadata of another": (lambda h, d, b: put_together({"__metadata__": {"format": "pt"}},
                                                         None, b""), "is not an integer network"),
    "document is no text": (lambda h, d, b: put_together({"__metadata__": {"ternspike": 1}},
                                                         None, b""), "ternspike: is not text"),
    "lone surrogate": (lambda h, d, b: put_together({"__metadata__": {"ternspike": "\ud800"}},
                                                    None, b""), "ternspike: is not UTF-8"),
    "another format": (document_with(format="x"), "format: is 'x'"),
    "a later version": (document_with(version=5), r"version: is 5 \(limit: versions 1\.\.4\)"),
    "an earlier version": (document_with(version=0), "version: is 0"),
    "a member of a later one": (document_with(version=2), "ternspike: has 'input_shape'"),
    "version as text": (document_with(version="1"), "version: is '1'"),
    "version true": (document_with(version=True), "version: is True"),
    "missing field": (document_without("timesteps"), "ternspike: lacks 'timesteps'"),
    "additional field": (document_with(more=1), "ternspike: has 'more'"),
    "wrong input": (document_with(input="analogue"), "input: is 'analogue'"),
    "input is a list": (document_with(input=[]), r"input: is \[\]"),
    "wrong bits": (document_with(input_bits=99), "input_bits: is 99"),
    "absurd steps": (document_with(timesteps=10**12), "timesteps: is 1000000000000"),
    "huge number": (document_with(timesteps=10**4000), "timesteps: is 1000"),
    "steps as text": (document_with(timesteps="4"), "timesteps: is '4'"),
    "metadata not text": (document_with(metadata={"a": 1}), "metadata: holds"),
    "no layers": (document_with(layers=[]), "layers: is not a list of that length"),
    "many layers": (document_with(layers=[{}] * 65), "limit: 1..64 layers"),
    "layer is no object": (document_with(layers=[1]), "layer 0: is 1"),
    "absurd outputs": (layer_with(outputs=10**15), "layer 0: has 10{15} outputs"),
    "no inputs": (layer_with(inputs=0), "layer 0: has 0 inputs"),
    "fractional inputs": (layer_with(inputs=3.0), r"layer 0: has 3\.0 inputs"),
    "too many weights": (layer_with(inputs=1 << 20, outputs=1 << 20), "has 1099511627778 weights"),
    "many weights": (layer_with(inputs=1 << 14, outputs=1 << 13), "layers.0.weights: has shape"),
    "other kind": (layer_with(kind="lstm"), "layer 0: is of kind 'lstm'"),
    "kind is a list": (layer_with(kind=[]), r"layer 0: is of kind \[\]"),
    "conv without a kernel": (layer_with(kind="conv"), "layer 0: lacks 'groups'"),
    "merge with weights": (layer_with(kind="merge"), "layer 0: lacks 'operation'"),
    "wrong window": (layer_with(window=0), "layer 0: window: is 0"),
    "wrong sum_pool": (layer_with(sum_pool=[1]), r"layer 0: sum_pool: is \[1\]"),
    "wrong signed": (layer_with(signed=0), "layer 0: signed: is 0"),
    "wrong sources": (layer_with(sources=[9]), "layer 0: reads layer 9"),
    "wrong input shape": (document_with(input_shape=[3, 1]), r"input_shape: is \[3, 1\]"),
    "no input shape": (document_with(input_shape=None), "input_shape: is None"),
    "absurd input shape": (document_with(input_shape=[3, 1 << 40, 1]), "input_shape: is 1099511"),
    "wrong input_signed": (document_with(input_signed=None), "input_signed: is None"),
    "more in a layer": (layer_with(padding=3), "layer 0: has 'padding'"),
    "less in a layer": (layer_without("z_max"), "layer 0: lacks 'z_max'"),
    "wrong z_max": (layer_with(z_max=16), r"layer 0: z_max: is 16 \(limit: 1\.\.15\)"),
    "z_max true": (layer_with(z_max=True), "layer 0: z_max: is True"),
    "no z_max": (layer_with(z_max=None), "layer 0: z_max: is None"),
    "readout that counts": (layer_with(1, z_max=2), "layer 1: z_max: is 2 for a readout layer"),
    "wrong reset": (layer_with(reset="none"), "layer 0: reset: is 'none'"),
    "wrong readout": (layer_with(1, readout="mean"), "layer 1: readout: is 'mean'"),
    "wrong leak": (layer_with(leak=[99]), "layer 0: leak: is 99"),
    "leak is a number": (layer_with(leak=1), "layer 0: leak: is 1"),
    "wrong v_init": (layer_with(v_init=None), "layer 0: v_init: is None"),
    "readout first": (layer_with(readout="last"), "tensors: has 'layers.0.threshold'"),
    "chain broken": (layer_with(1, inputs=3), "layer 1: takes 3 inputs"),
    "missing tensor": (without_tensor, "tensors: lacks 'layers.0.bias'"),
    "additional tensor": (extra_tensor, "tensors: has 'x'"),
    "float tensor": (tensor_with("layers.0.bias", dtype="F32"), "layers.0.bias: has dtype 'F32'"),
    "dtype is a list": (tensor_with("layers.0.bias", dtype=[]), r"layers.0.bias: has dtype \[\]"),
    "signed gain": (tensor_with("layers.0.gain_plus", dtype="I8"), "gain_plus: has dtype 'I8'"),
    "other width": (tensor_with("layers.0.bias", dtype="I32"), "layers.0.bias: has data_offsets"),
    "other shape": (tensor_with("layers.0.bias", shape=[2, 1]), "layers.0.bias: has shape"),
    "absurd shape": (tensor_with("layers.0.bias", shape=[1 << 60]), "layers.0.bias: has shape"),
    "absurd offsets": (tensor_with("layers.0.bias", data_offsets=[1 << 60, (1 << 60) + 4]),
                       "tensors: has data at"),
    "negative offsets": (tensor_with("layers.0.bias", data_offsets=[-4, 0]),
                         "tensors: has data at -4"),
    "offsets are text": (tensor_with("layers.0.bias", data_offsets="ab"), "has data_offsets 'ab'"),
    "overlap": (overlapping, "no gap or overlap"),
    "truncated": (lambda h, d, b: put_together(h, d, b[:-1]), "file size: .* truncated"),
    "no data": (lambda h, d, b: put_together(h, d, b""), "file size: .* truncated"),
    "something behind": (lambda h, d, b: put_together(h, d, b + b"\0"), "something behind"),
    "not a trit": (data_with("layers.0.weights", 243), r"layer 0: weights: holds the byte 243"),
    "padding": (data_with("layers.1.weights", 9), "layer 1: weights: has padding that is not 0"),
    "threshold 0": (data_with("layers.0.threshold", 0), "layer 0: threshold: holds 0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file(tmp_path, name):
    change, message = HOSTILE[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(change(*taken_apart(encode(network()))))
    with pytest.raises(NetworkError, match=message) as caught:
        IntegerNetwork.load(path)
    assert str(caught.value).startswith(f"{path}: ") or str(caught.value).startswith(f"{path} ")
    assert len(str(caught.value)) < 500 + len(str(path))


HOSTILE_MAPS = {
    "no kernel": (layer_with(kernel=[3, 0]), r"layer 0: has kernel \[3, 0\]"),
    "absurd kernel": (layer_with(kernel=[1 << 40, 2]), r"layer 0: has kernel \[1099511627776, 2\]"),
    "kernel is a number": (layer_with(kernel=3), "layer 0: has kernel 3"),
    "fractional kernel": (layer_with(kernel=[3.0, 2]), r"layer 0: has kernel \[3\.0, 2\]"),
    "another kernel": (layer_with(kernel=[3, 3]), r"layers.0.weights: has shape \[10\]"),
    "no groups": (layer_with(groups=0), "layer 0: has 0 groups"),
    "wrong groups": (layer_with(groups=3), "layer 0: has 3 groups"),
    "groups is text": (layer_with(groups="1"), "layer 0: has '1' groups"),
    "wrong stride": (layer_with(stride=[8, 1]), "layer 0: stride: is 8"),
    "wrong padding": (layer_with(padding=[3, 0]), r"layer 0: padding: is \(3, 0\)"),
    "wrong pool": (layer_with(pool=None), "layer 0: pool: is None"),
    "wrong operation": (layer_with(2, operation="xor"), "layer 2: operation: is 'xor'"),
    "merge of one": (layer_with(2, sources=[0]), r"layer 2: sources: is \[0\]"),
    "merge of the layer before": (layer_with(2, sources=None), "layer 2: sources: is None"),
    "merge of a later one": (layer_with(2, sources=[0, 3]), "layer 2: reads layer 3"),
    "merge with tensors": (layer_with(1, kind="merge"), "layer 1: lacks 'operation'"),
    "wrong threshold": (layer_with(2, threshold=0), "layer 2: threshold: is 0"),
}


@pytest.mark.parametrize("name", HOSTILE_MAPS)
def test_hostile_file_of_maps(tmp_path, name):
    change, message = HOSTILE_MAPS[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(change(*taken_apart(encode(convolutions()))))
    with pytest.raises(NetworkError, match=message) as caught:
        IntegerNetwork.load(path)
    assert len(str(caught.value)) < 500 + len(str(path))


HOSTILE_SPARSE = {
    "a bit too many": (data_with("layers.0.weights", 0xff), "layer 0: weights: has 8 that are not"),
    "a bit too few": (data_with("layers.0.weights", 0), "layer 0: weights: has 0 that are not 0"),
    "five to a byte": (layer_with(nonzero=None), r"layers.0.weights: has shape \[6\]"),
    "another number": (layer_with(nonzero=5), "layer 0: weights: has 4 that are not 0"),
    "negative": (layer_with(nonzero=-1), "layer 0: has -1 weights that are not 0"),
    "more than weights": (layer_with(nonzero=41), r"layer 0: has 41 weights .* \(limit: 0\.\.40\)"),
    "true": (layer_with(nonzero=True), "layer 0: has True weights that are not 0"),
    "text": (layer_with(nonzero="4"), "layer 0: has '4' weights that are not 0"),
    "padding": (lambda h, d, b: put_together(h, d, b.replace(bytes([15, 0, 0, 0, 0, 0]),
                                                             bytes([15, 0, 0, 0, 0, 128]))),
                "layer 0: weights: has padding that is not 0"),
}


@pytest.mark.parametrize("name", HOSTILE_SPARSE)
def test_hostile_file_of_sparse_weights(tmp_path, name):
    change, message = HOSTILE_SPARSE[name]
    weights = np.zeros((2, 20), np.int8)
    weights[0, :4] = 1
    path = tmp_path / "bad.safetensors"
    path.write_bytes(change(*taken_apart(encode(network(
        layers=(layer(weights=weights), DenseLayer(**READOUT)))))))
    with pytest.raises(NetworkError, match=message):
        IntegerNetwork.load(path)


def test_a_false_size_is_refused_without_allocating(tmp_path):
    header, document, data = taken_apart(encode(network()))
    document["layers"][0].update(inputs=1 << 14, outputs=(1 << 14) - 1)
    header["layers.0.weights"]["shape"] = [-(-((1 << 14) * ((1 << 14) - 1)) // 5)]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(put_together(header, document, data))
    tracemalloc.start()
    with pytest.raises(NetworkError):
        IntegerNetwork.load(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@settings(deadline=None)
@given(st.data())
def test_any_change_of_a_byte_is_refused_or_harmless(tmp_path_factory, data):
    content = bytearray(encode(data.draw(st.sampled_from([network, convolutions]))()))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "net.safetensors"
    path.write_bytes(content[:data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        loaded = IntegerNetwork.load(path)
    except NetworkError:
        return
    loaded.bounds(0)


def test_unreadable_places(tmp_path):
    with pytest.raises(FileNotFoundError):
        IntegerNetwork.load(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(NetworkError, match=f"{path}: is not a regular file"):
            IntegerNetwork.load(path)
    if os.getuid():
        locked = tmp_path / "locked"
        network().save(locked)
        locked.chmod(0)
        with pytest.raises(PermissionError):
            IntegerNetwork.load(locked)
