"""The file of an integer network: safetensors arrays and one JSON document.

``docs/network-format.md`` describes every byte. Reading trusts nothing: sizes, names, types and
offsets of the header are checked against the limits of `model.network` and against the real length
of the file before anything is allocated from them.
"""

import enum
import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from model.network import (
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_WEIGHTS,
    MAX_WIDTH,
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    Layer,
    Merge,
    MergeLayer,
    NetworkError,
    NeuronLayer,
    Readout,
    Reset,
)
from model.weight_codes import (
    pack_sparse,
    pack_trits,
    sparse_bytes,
    trit_bytes,
    unpack_sparse,
    unpack_trits,
)

__all__ = ["FORMAT", "VERSION", "encode", "read", "stored_arrays"]

FORMAT = "ternspike integer network"
#: What `encode` writes. Versions 1 (without z_max, which is 1), 2 (chains of dense layers) and 3
#: (weights five to a byte) can be read, too.
VERSION = 4

# The one key of safetensors' metadata; its value is our JSON document.
DOCUMENT_KEY = "ternspike"
MAX_HEADER = 1 << 20
# The length of the header, little endian, before the header itself.
PREFIX = 8

_UNSIGNED = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32}
_SIGNED = {"I8": np.int8, "I16": np.int16, "I32": np.int32}
_TYPES = {
    "weights": {"U8": np.uint8},
    "gain_plus": _UNSIGNED,
    "gain_minus": _UNSIGNED,
    "bias": _SIGNED,
    "threshold": _UNSIGNED,
}

E = TypeVar("E", bound=enum.Enum)

_DOCUMENT_FIELDS: dict[int, set[str]] = {
    1: {"format", "version", "input", "input_bits", "timesteps", "layers", "metadata"}}
_DOCUMENT_FIELDS[2] = _DOCUMENT_FIELDS[1]
_DOCUMENT_FIELDS[3] = _DOCUMENT_FIELDS[2] | {"input_shape", "input_signed"}
_DOCUMENT_FIELDS[4] = _DOCUMENT_FIELDS[3]

# The members of a layer, by version and kind.
_LAYER_FIELDS: dict[int, dict[str, set[str]]] = {1: {"dense": {
    "kind", "inputs", "outputs", "leak", "reset", "v_init", "membrane_bits", "readout"}}}
_LAYER_FIELDS[2] = {"dense": _LAYER_FIELDS[1]["dense"] | {"z_max"}}
_LAYER_FIELDS[3] = {
    "dense": _LAYER_FIELDS[2]["dense"] | {"signed", "sources", "window", "sum_pool"}}
_LAYER_FIELDS[3]["conv"] = _LAYER_FIELDS[3]["dense"] | {
    "kernel", "stride", "padding", "groups", "pool"}
_LAYER_FIELDS[3]["merge"] = {
    "kind", "operation", "sources", "z_max", "threshold", "reset", "membrane_bits", "signed"}
_LAYER_FIELDS[4] = _LAYER_FIELDS[3] | {
    kind: _LAYER_FIELDS[3][kind] | {"nonzero"} for kind in ("dense", "conv")}

_KINDS: dict[type[Layer], str] = {DenseLayer: "dense", ConvLayer: "conv", MergeLayer: "merge"}


def stored_arrays(layer: NeuronLayer | MergeLayer) -> dict[str, np.ndarray]:
    """Return a layer's arrays as the file holds them.

    Weights as they take fewer bytes, five to each or as a bitmap and signs; the others in the
    smallest integer types. A merge has none.
    """
    if isinstance(layer, MergeLayer):
        return {}
    pack = pack_trits if _sparse(layer.weights) is None else pack_sparse
    arrays = {"weights": pack(layer.weights)}
    for name in ("gain_plus", "gain_minus", "bias", "threshold"):
        # A readout layer does not fire: it has no thresholds to store.
        if name != "threshold" or layer.readout is None:
            arrays[name] = _narrowed(getattr(layer, name), _TYPES[name].values())
    return arrays


def encode(network: IntegerNetwork) -> bytes:
    """Return the bytes of the network's file; the same network gives the same bytes."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "input": network.input.value,
        "input_bits": network.input_bits,
        "input_shape": list(network.shape(-1)),
        "input_signed": network.input_signed,
        "timesteps": network.timesteps,
        "layers": [_describe(layer) for layer in network.layers],
        "metadata": dict(network.metadata),
    }
    tensors = {
        f"layers.{number}.{name}": array
        for number, layer in enumerate(network.layers)
        for name, array in stored_arrays(layer).items()
    }
    return safetensors.save(tensors, {DOCUMENT_KEY: json.dumps(document, separators=(",", ":"))})


def read(path: Path) -> IntegerNetwork:
    """Read a network's file.

    Raises
    ------
    NetworkError
        If the file is not a valid network.
    OSError
        If the file can't be read.
    """
    try:
        content, document = _checked_content(path)
        tensors = safetensors.load(content)
        return IntegerNetwork(
            input=_member(InputCoding, document["input"], "input"),
            input_bits=document["input_bits"],
            timesteps=document["timesteps"],
            layers=tuple(_layer(number, description, tensors)
                         for number, description in enumerate(document["layers"])),
            metadata=document["metadata"],
            input_shape=document.get("input_shape"),
            input_signed=document.get("input_signed", False),
        )
    except NetworkError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise NetworkError(error.what, where, error.limit) from error
    except SafetensorError as error:
        raise NetworkError(f"is not a safetensors file: {error}", str(path)) from error


def _describe(layer: Layer) -> dict[str, object]:
    """Return the JSON description of a layer: all of it but the arrays."""
    common = {
        "kind": _KINDS[type(layer)],
        "sources": None if layer.sources is None else list(layer.sources),
        "reset": layer.reset.value,
        "membrane_bits": layer.membrane_bits,
        "z_max": layer.z_max,
        "signed": layer.signed,
    }
    if isinstance(layer, MergeLayer):
        return common | {"operation": layer.operation.value, "threshold": layer.threshold}
    neurons = common | {
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "leak": list(layer.leak),
        "v_init": layer.v_init,
        "readout": None if layer.readout is None else layer.readout.value,
        "window": layer.window,
        "sum_pool": list(layer.sum_pool),
        "nonzero": _sparse(layer.weights),
    }
    if isinstance(layer, DenseLayer):
        return neurons
    return neurons | {
        "kernel": list(layer.kernel),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
        "groups": layer.groups,
        "pool": list(layer.pool),
    }


def _sparse(weights: np.ndarray) -> int | None:
    """Return how many weights are not 0 if a bitmap and signs take less than five to a byte."""
    nonzero = int(np.count_nonzero(weights))
    return nonzero if sparse_bytes(weights.size, nonzero) < trit_bytes(weights.size) else None


def _narrowed(array: np.ndarray, types: Iterable[type[np.integer]]) -> np.ndarray:
    """Return the array in the first of the types that holds all of its values."""
    low, high = int(array.min()), int(array.max())
    for dtype in types:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(dtype)
    raise NetworkError(f"holds {low}..{high}", "stored array", "32 bits")


def _checked_content(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return a file's bytes and its JSON document.

    The header says how long the data must be; they are read only if the file has just that length.
    """
    # Asked before it is opened, because opening a pipe waits for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise NetworkError("is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < PREFIX:
            raise NetworkError(f"is truncated: {size} bytes", "header", f"at least {PREFIX} bytes")
        prefix = file.read(PREFIX)
        length = int.from_bytes(prefix, "little")
        if length > MAX_HEADER:
            raise NetworkError(f"claims {length} bytes", "header", f"{MAX_HEADER} bytes")
        if length > size - PREFIX:
            raise NetworkError(f"is truncated: it claims {length} bytes", "header",
                               f"the {size - PREFIX} bytes that follow")
        text = file.read(length)
        header = _json_object(text, "header")
        document = _document(header)
        data = _data_size(header, document["layers"])
        if size != PREFIX + length + data:
            raise NetworkError(f"{size} bytes, truncated or with something behind", "file size",
                               f"{PREFIX + length + data} bytes")
        return prefix + text + file.read(data), document


def _document(header: dict[str, Any]) -> dict[str, Any]:
    """Take our JSON document out of the header and check its structure and sizes."""
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != {DOCUMENT_KEY}:
        raise NetworkError("is not an integer network", "__metadata__",
                           f"exactly the key {DOCUMENT_KEY!r}")
    if not isinstance(metadata[DOCUMENT_KEY], str):
        raise NetworkError("is not text", DOCUMENT_KEY)
    try:
        text = metadata[DOCUMENT_KEY].encode()
    except UnicodeEncodeError as error:
        raise NetworkError(f"is not UTF-8: {error}", DOCUMENT_KEY) from error
    document = _json_object(text, DOCUMENT_KEY)
    if document.get("format") != FORMAT:
        raise NetworkError(f"is {short(document.get('format'))}", "format", repr(FORMAT))
    version = document.get("version")
    if type(version) is not int or version not in _LAYER_FIELDS:
        raise NetworkError(f"is {short(version)}", "version", f"versions 1..{VERSION}")
    _exact_fields(document, _DOCUMENT_FIELDS[version], DOCUMENT_KEY)
    # Left out it would be the first layer's inputs, as it is in earlier versions.
    if version >= 3 and document["input_shape"] is None:
        raise NetworkError("is None", "input_shape", "channels, rows and columns")

    layers = document["layers"]
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise NetworkError("is not a list of that length", "layers", f"1..{MAX_LAYERS} layers")
    weights = 0
    for number, layer in enumerate(layers):
        where = f"layer {number}"
        if not isinstance(layer, dict):
            raise NetworkError(f"is {short(layer)}", where, "an object")
        kind, kinds = layer.get("kind"), _LAYER_FIELDS[version]
        if not isinstance(kind, str) or kind not in kinds:
            raise NetworkError(f"is of kind {short(kind)}", where,
                               f"{' or '.join(map(repr, kinds))}")
        _exact_fields(layer, kinds[kind], where)
        weights += math.prod(_weights_shape(layer, where))
    if weights > MAX_WEIGHTS:
        raise NetworkError(f"has {weights} weights", "layers", f"{MAX_WEIGHTS} weights")
    return document


def _weights_shape(layer: dict[str, Any], where: str) -> tuple[int, ...]:
    """Return the shape of the weights that a description claims; a merge has none, (0,)."""
    if layer["kind"] == "merge":
        return (0,)
    for name in ("inputs", "outputs"):
        if type(layer[name]) is not int or not 1 <= layer[name] <= MAX_WIDTH:
            raise NetworkError(f"has {short(layer[name])} {name}", where, f"1..{MAX_WIDTH}")
    if layer["kind"] == "dense":
        return layer["outputs"], layer["inputs"]
    kernel, groups = layer["kernel"], layer["groups"]
    if not (isinstance(kernel, list) and [type(size) for size in kernel] == [int, int]
            and all(1 <= size <= MAX_KERNEL for size in kernel)):
        raise NetworkError(f"has kernel {short(kernel)}", where,
                           f"[height, width], each 1..{MAX_KERNEL}")
    if type(groups) is not int or groups < 1 or layer["inputs"] % groups:
        raise NetworkError(f"has {short(groups)} groups", where,
                           f"a divisor of the {layer['inputs']} inputs")
    return layer["outputs"], layer["inputs"] // groups, *kernel


def _weights_bytes(layer: dict[str, Any], where: str) -> int:
    """Return how many bytes the weights take by the description."""
    weights, nonzero = math.prod(_weights_shape(layer, where)), layer.get("nonzero")
    if nonzero is None:
        return trit_bytes(weights)
    if type(nonzero) is not int or not 0 <= nonzero <= weights:
        raise NetworkError(f"has {short(nonzero)} weights that are not 0", where, f"0..{weights}")
    return sparse_bytes(weights, nonzero)


def _data_size(header: dict[str, Any], layers: list[dict[str, Any]]) -> int:
    """Check that the header holds exactly the tensors of the layers; return their bytes."""
    expected = {
        f"layers.{number}.{name}": (
            _TYPES[name],
            _weights_bytes(layer, f"layer {number}") if name == "weights" else layer["outputs"])
        for number, layer in enumerate(layers) if layer["kind"] != "merge"
        for name in _TYPES
        if name != "threshold" or layer["readout"] is None
    }
    _exact_fields(header, set(expected), "tensors")
    spans = sorted(_span(name, header[name], *expected[name]) for name in expected)
    end = 0
    for start, stop in spans:
        if start != end:
            raise NetworkError(f"has data at {start}", "tensors", f"no gap or overlap after {end}")
        end = stop
    return end


def _span(
    name: str, entry: object, types: dict[str, type[np.integer]], length: int,
) -> tuple[int, int]:
    """Check the header entry of one tensor and return where its data start and stop."""
    if not isinstance(entry, dict):
        raise NetworkError(f"is {short(entry)}", name, "an object")
    _exact_fields(entry, {"dtype", "shape", "data_offsets"}, name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in types:
        raise NetworkError(f"has dtype {short(dtype)}", name, " or ".join(types))
    if shape != [length]:
        raise NetworkError(f"has shape {short(shape)}", name, f"[{length}]")
    size = length * np.dtype(types[dtype]).itemsize
    if (not isinstance(offsets, list) or [type(offset) for offset in offsets] != [int, int]
            or offsets[1] - offsets[0] != size):
        raise NetworkError(f"has data_offsets {short(offsets)}", name, f"{size} bytes")
    return offsets[0], offsets[1]


def _layer(
    number: int, description: dict[str, Any], tensors: dict[str, np.ndarray],
) -> Layer:
    """Build a layer from its description and tensors."""
    where = f"layer {number}"
    try:
        build = _merge if description["kind"] == "merge" else _neurons
        return build(number, description, tensors)
    except NetworkError as error:
        raise NetworkError(error.what, f"{where}: {error.where}", error.limit) from error


def _merge(
    number: int, description: dict[str, Any], tensors: dict[str, np.ndarray],
) -> MergeLayer:
    """Build a merge, which has no tensors."""
    fields = {name: value for name, value in description.items() if name != "kind"}
    fields["operation"] = _member(Merge, fields["operation"], "operation")
    fields["reset"] = _member(Reset, fields["reset"], "reset")
    return MergeLayer(**fields)


def _neurons(
    number: int, description: dict[str, Any], tensors: dict[str, np.ndarray],
) -> DenseLayer | ConvLayer:
    """Build a layer with weights."""
    shape = _weights_shape(description, f"layer {number}")
    # What the weights say already is no field.
    told = {"kind", "inputs", "outputs", "kernel", "nonzero"}
    fields: dict[str, Any] = {
        name: value for name, value in description.items() if name not in told}
    fields["reset"] = _member(Reset, fields["reset"], "reset")
    if fields["readout"] is not None:
        fields["readout"] = _member(Readout, fields["readout"], "readout")
    for name in _TYPES:
        # A readout layer does not fire: it has no thresholds stored.
        fields[name] = tensors.get(f"layers.{number}.{name}", np.zeros(shape[0], np.int32))
    nonzero = description.get("nonzero")
    fields["weights"] = (unpack_trits(fields["weights"], *shape) if nonzero is None
                         else unpack_sparse(fields["weights"], nonzero, *shape))
    return DenseLayer(**fields) if description["kind"] == "dense" else ConvLayer(**fields)


def _json_object(text: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object, refusing what strict JSON does not allow and duplicate keys."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, NetworkError):
            raise NetworkError(error.what, where) from error
        raise NetworkError(f"is not JSON in UTF-8: {error}", where) from error
    if not isinstance(value, dict):
        raise NetworkError(f"is {short(value)}", where, "a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members, each of which may appear once."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NetworkError("has an object with a key twice")
    return members


def _no_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's parser would let pass."""
    raise NetworkError(f"holds {name}, which is not JSON")


def _exact_fields(found: dict[str, Any], wanted: set[str], where: str) -> None:
    """Raise unless an object has just the wanted fields."""
    for fault, names in (("lacks", wanted - found.keys()), ("has", found.keys() - wanted)):
        if names:
            raise NetworkError(f"{fault} {short(min(names))}", where, "all fields and no others")


def _member(kind: type[E], value: object, where: str) -> E:
    """Return the member of an enumeration with that value."""
    for member in kind:
        if member.value == value:
            return member
    choices = ", ".join(member.value for member in kind)
    raise NetworkError(f"is {short(value)}", where, choices)
