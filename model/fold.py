"""Folding: a trained ternary network becomes an `IntegerNetwork`, and what the rounding cost.

In inference a trained layer computes, per output channel and step, a current
``I = plus * P - minus * N + bias`` from its counts ``P, N``: batch norm's ``g, c`` and the scale
of what is counted (1/255 for pixels, divided by the window of average pooling) give
``plus = |g| a_p s``, ``minus = |g| a_n s``, ``bias = c``, and a negative ``g`` swaps the + and -
weights. Leak and reset are linear, so that a neuron may be divided
by any positive unit without changing its spikes. With ``unit = minus / q``::

    gain_minus = q            gain_plus = round(plus / unit)
    bias = round(bias / unit) threshold = round(threshold / unit)

Any q of ``2^(shift-1) + 1 .. 2^shift`` is about as fine for bias and threshold; each channel takes
the one whose ``gain_plus / gain_minus`` comes nearest to ``plus / minus``. That is worth about two
more bits than q = 2^shift for all, and costs nothing.

Where no channel may have a unit of its own, all share one: in a readout layer, whose neurons are
compared with one another, and in a layer that starts from a membrane other than 0, because the
integer machine has one initial membrane a layer. There q is the largest gain.

With `FoldSettings.exact_thresholds` a unit is the threshold divided by a whole number, the one near
to ``minus / q``, and all gains are rounded instead.

`shift` is the smallest of each layer whose rounding can't be measured on calibration samples; see
`RoundingCost.measurable`. Merges have nothing to round.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from model.architecture import Architecture, ConvSpec, DenseSpec
from model.bounds import bits_needed, layer_bounds
from model.data import Coding
from model.layers import (
    INPUT_MAX,
    MergeNeurons,
    ReadoutLayer,
    SpikingLayer,
    SpikingNetwork,
    as_inputs,
)
from model.network import (
    MAX_LEVELS,
    ConvLayer,
    DenseLayer,
    InputCoding,
    IntegerNetwork,
    MergeLayer,
    Readout,
    Reset,
)
from model.neuron import NeuronSettings
from model.quantise import QuantiserSettings, describe

__all__ = ["FoldError", "FoldReport", "FoldSettings", "LayerFold", "RealLayer", "RoundingCost",
           "blank", "fold", "real_layers", "round_layer", "rounding_cost"]

MAX_SHIFT = 7
GAIN_MAX = 255                       # 8 bits
VALUE_MAX = (1 << 19) - 1            # bias and threshold: 20 bits, signed
CONSTANT_LEVELS = 1 << 12            # resolution of a neuron that has no input
MOST_CHANGES = 0.01                  # share of the samples
MOST_NOISE = 0.1
TINY = 1e-30
BATCH = 500


class FoldError(ValueError):
    """A trained network that does not fit the integer limits: layer, quantity, need, limit."""


@dataclass(frozen=True)
class FoldSettings:
    """Choices of the folding.

    Parameters
    ----------
    samples : int
        Training samples on which `train` measures the cost of rounding.
    shifts : tuple of int, optional
        0..7, one for each layer that has weights; searched for if not given.
    membrane_bits : int
        The widest membrane. A layer gets the smallest width at which no input can make it
        saturate, if that is not wider; or, if membranes saturated in training, the one that holds
        as much.
    saturate : bool
        Whether a layer that would need a wider membrane gets this one and saturates. What that
        costs is measured together with the rounding, and is usually nothing: a membrane so far
        from its thresholds fires z_max, or stays silent, at either width.
    exact_thresholds : bool
        Whether thresholds are folded without rounding, at the cost of both gains. Those of
        channels whose gains or bias would leave their range are rounded all the same.
    """

    samples: int = 5000
    shifts: tuple[int, ...] | None = None
    membrane_bits: int = 20
    saturate: bool = True
    exact_thresholds: bool = False

    def __post_init__(self):
        if self.samples < 1:
            raise FoldError(f"Calibration samples must be at least 1, not {self.samples!r}")
        if self.shifts is not None and not all(0 <= s <= MAX_SHIFT for s in self.shifts):
            raise FoldError(f"Shifts must be within 0..{MAX_SHIFT}, not {self.shifts!r}")
        if not 2 <= self.membrane_bits <= 32:
            raise FoldError(f"Membrane width must be within 2..32 bits, not "
                            f"{self.membrane_bits!r}")


class RealLayer(NamedTuple):
    """A trained layer as real numbers a count; float64 (outputs,) unless stated."""

    spec: DenseSpec | ConvSpec
    signs: np.ndarray                   #: int8 (outputs, ...) in {-1, 0, 1}
    source_min: int                     #: smallest count of an input
    source_max: int                     #: largest count of an input
    plus: np.ndarray                    #: >= 0
    minus: np.ndarray                   #: >= 0
    bias: np.ndarray
    threshold: np.ndarray | None        #: > 0; None for a readout layer
    v_init: float                       #: initial membrane; 0 for a readout layer
    leak: tuple[int, ...]
    reset: Reset
    z_max: int                          #: largest count of a spike; 1 for a readout layer
    signed: bool                        #: whether spikes count below 0
    saturation: float | None            #: where membranes saturate, in thresholds; None: nowhere
    readout: Readout | None


@dataclass(frozen=True)
class LayerFold:
    """What a layer with weights became."""

    shift: int
    gain_bits: int
    bias_bits: int
    threshold_bits: int
    membrane_bits: int
    saturates: bool            #: whether some input can make a membrane saturate


@dataclass(frozen=True)
class RoundingCost:
    """Integer network against the float ternary one, on the same samples."""

    samples: int
    compared: tuple[int, ...]          #: spikes and silences compared, each layer that fires
    mismatches: tuple[int, ...]        #: of them different
    class_changes: int                 #: samples whose class differs
    float_accuracy: float              #: 0..1
    integer_accuracy: float            #: 0..1
    logit_noise: float                 #: rms of the logits' error / rms of the logits, both centred

    @property
    def measurable(self) -> bool:
        """Whether rounding does harm that can be seen.

        That is: the accuracy falls by more than two standard errors of the paired difference, more
        than 1 % of the samples change their class at all, or the error of the logits is more than
        a tenth of their size. The last is a limit of its own because samples that were trained on
        keep their classes under more noise than new ones, but have the same noise.
        """
        lost = (self.float_accuracy - self.integer_accuracy) * self.samples
        return (self.logit_noise > MOST_NOISE
                or lost > 2 * self.class_changes**0.5
                or self.class_changes > MOST_CHANGES * self.samples)


@dataclass(frozen=True)
class FoldReport:
    """Widths of every layer with weights and the cost on the calibration samples."""

    layers: tuple[LayerFold, ...]
    calibration: RoundingCost


class _Reference(NamedTuple):
    """What the float network does with some of the samples."""

    inputs: np.ndarray
    spikes: tuple[np.ndarray, ...]     # int8 (samples, steps, neurons), counts
    logits: np.ndarray                 # float64 (samples, classes)
    #: Spikes of the integer network's first layers, if nothing about these changes any more
    known: tuple[np.ndarray, ...] = ()


def fold(model: SpikingNetwork, coding: Coding, inputs: np.ndarray, labels: np.ndarray,
         settings: FoldSettings | None = None, *,
         metadata: Mapping[str, str] | None = None) -> tuple[IntegerNetwork, FoldReport]:
    """Fold a trained ternary network.

    Parameters
    ----------
    model : SpikingNetwork
        With ternary weights in all layers.
    coding : Coding
        How its inputs were coded.
    inputs : uint8
        Calibration samples, encoded by `model.data.encode`.
    labels : int (samples,)
    metadata : mapping of text, optional
        For the network's file; shifts and the readout's unit are added.

    Raises
    ------
    FoldError
        Naming layer, quantity, need and limit.
    """
    settings = settings or FoldSettings()
    layers = real_layers(model, coding)
    references = list(_execute_float(model, inputs))
    weighted = [number for number, layer in enumerate([*model.firing_layers(), model.readout])
                if not isinstance(layer, MergeNeurons)]

    def build(shifts: Sequence[int]) -> tuple[IntegerNetwork, float]:
        return _integer_network(model, layers, shifts, coding, settings, metadata or {})

    def cost(shifts: Sequence[int]) -> RoundingCost:
        network, unit = build(shifts)
        return _compare(references, network, unit, labels)

    if settings.shifts is None:
        # What fires before the second layer with weights, the third, ..., the readout.
        settled = [*weighted[1:], weighted[-1]]
        finest = [_finest_shift(real, model.timesteps, settings) for real in layers]
        shifts = list(finest)
        for number in range(len(layers)):
            costs = {}
            for shift in range((MAX_SHIFT if settings.saturate else finest[number]) + 1):
                costs[shift] = cost([*shifts[:number], shift, *shifts[number + 1:]])
                if not costs[shift].measurable:
                    break
            harmless = [shift for shift in costs if not costs[shift].measurable]
            shifts[number] = (harmless or sorted(costs, key=lambda s: costs[s].logit_noise))[0]
            references = _settled(references, build(shifts)[0], settled[number])
    else:
        shifts = list(settings.shifts)
        if len(shifts) != len(layers):
            raise FoldError(f"{len(shifts)} shifts are given for {len(layers)} layers")
    network, unit = build(shifts)
    report = FoldReport(
        tuple(_layer_fold(network, number, shift)
              for number, shift in zip(weighted, shifts, strict=True)),
        _compare(references, network, unit, labels))
    return network, report


def blank(architecture: Architecture, timesteps: int, coding: Coding,
          neuron: NeuronSettings) -> IntegerNetwork:
    """Return a network of zeros of a shape, to ask what it would take before it is trained."""
    model = SpikingNetwork(architecture, timesteps, neuron=neuron, quantiser=QuantiserSettings())
    for layer in model.weighted_layers():
        nn.init.zeros_(layer.weight)
    layers = real_layers(model, coding)
    return _integer_network(model, layers, [0] * len(layers), coding, FoldSettings(), {})[0]


def real_layers(model: SpikingNetwork, coding: Coding) -> list[RealLayer]:
    """Return the layers with weights as real numbers: all scales and batch norm multiplied out.

    Raises
    ------
    FoldError
        If a layer is not ternary or holds a number that is not finite.
    """
    scale, source_max = 1.0, 1
    if coding is Coding.STATIC:
        scale = (1 << model.input_shift) / INPUT_MAX
        source_max = INPUT_MAX >> model.input_shift
    ranges, real = [(0, source_max)], []
    for number, layer in enumerate([*model.firing_layers(), model.readout]):
        if not isinstance(layer, MergeNeurons):
            sources = layer.spec.sources
            read = [ranges[source + 1] for source in sources]
            real.append(_real_layer(layer, scale if sources == (-1,) else 1.0,
                                    min(read)[0], max(high for _, high in read),
                                    f"layer {number}"))
        if not isinstance(layer, ReadoutLayer):
            z_max = layer.neuron.z_max
            ranges.append((-z_max if layer.neuron.signed else 0, z_max))
    return real


def round_layer(real: RealLayer, shift: int, *, exact_thresholds: bool = False,
                ) -> tuple[DenseLayer | ConvLayer, np.ndarray]:
    """Round a layer to integers at a shift.

    A channel whose highest level (z_max thresholds), bias or gain would leave its range gets a unit
    coarser by a power of two. Such a neuron hardly depends on its inputs, or hardly on one sign of
    them.

    Returns
    -------
    layer : DenseLayer or ConvLayer
        With membranes of 32 bits.
    unit : float64 (outputs,)
        What 1 stands for in each channel.
    """
    largest = np.maximum(real.plus, real.minus)
    threshold = np.zeros_like(real.bias) if real.threshold is None else real.threshold
    shared = real.threshold is None or real.v_init != 0
    if shared:
        base = np.full_like(largest, largest.max())
    else:
        base = np.where(real.minus > 0, real.minus, real.plus)
    unit = _best_unit(real, base, shift, shared, exact_thresholds)
    level = np.maximum(threshold, np.abs(real.bias)) / CONSTANT_LEVELS
    unit = np.where(base > 0, unit, np.where(level > 0, level, 1.0))
    excess = np.maximum(np.maximum(real.z_max * threshold, np.abs(real.bias)) / VALUE_MAX,
                        largest / GAIN_MAX) / unit
    if shared:
        excess[:] = excess.max()
    unit = unit * 2.0 ** np.ceil(np.log2(np.maximum(excess, 1.0)))
    if exact_thresholds and real.threshold is not None:
        unit = _dividing(unit, real.threshold)

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.rint(values / unit).astype(np.int64)

    spiking = real.threshold is not None
    layer = real.spec.integer_layer(
        weights=real.signs, gain_plus=rounded(real.plus), gain_minus=rounded(real.minus),
        bias=rounded(real.bias),
        threshold=np.maximum(rounded(threshold), 1) if spiking else rounded(threshold),
        leak=real.leak, reset=real.reset, v_init=int(np.rint(real.v_init / unit[0])),
        membrane_bits=32, z_max=real.z_max, signed=real.signed, readout=real.readout)
    return layer, unit


def rounding_cost(model: SpikingNetwork, network: IntegerNetwork, inputs: np.ndarray,
                  labels: np.ndarray) -> RoundingCost:
    """Compare a folded network with the model that it came from, on any encoded samples."""
    unit = float(network.metadata["readout_unit"])
    return _compare(_execute_float(model, inputs), network, unit, labels)


def _real_layer(layer: SpikingLayer | ReadoutLayer, scale: float, source_min: int, source_max: int,
                where: str) -> RealLayer:
    """Multiply out one layer in float64."""
    codes, norm = layer.codes(), layer.norm
    if codes is None:
        kind = describe(layer.quantiser and layer.quantiser.settings)
        raise FoldError(f"{where}: weights are {kind}; only ternary layers can be folded")
    scale /= math.prod(layer.spec.sum_pool)

    def exact(tensor: torch.Tensor | None) -> np.ndarray:
        if tensor is None or not bool(torch.isfinite(tensor).all()):
            raise FoldError(f"{where}: a parameter is not finite")
        return tensor.detach().double().numpy()

    slope = exact(norm.weight) / np.sqrt(exact(norm.running_var) + norm.eps)
    bias = exact(norm.bias) - slope * exact(norm.running_mean)
    signs = codes.signs.numpy()
    plus, minus = (np.abs(slope) * exact(s) * scale for s in (codes.scale_plus, codes.scale_minus))
    flipped = slope < 0
    plus, minus = np.where(flipped, minus, plus), np.where(flipped, plus, minus)
    signs = np.where(_beside(flipped, signs), -signs, signs).astype(np.int8)
    # A side without weights has no say in the unit, whatever its scale is.
    others = tuple(range(1, signs.ndim))
    plus = np.where((signs > 0).any(others), plus, 0.0)
    minus = np.where((signs < 0).any(others), minus, 0.0)
    if isinstance(layer, SpikingLayer):
        threshold = float(exact(layer.firing_threshold()))
        neuron = layer.neuron
        return RealLayer(layer.spec, signs, source_min, source_max, plus, minus, bias,
                         np.full(len(bias), threshold), neuron.v_init * threshold,
                         layer.leak_shifts(), neuron.reset, neuron.z_max, neuron.signed,
                         neuron.saturation, None)
    return RealLayer(layer.spec, signs, source_min, source_max, plus, minus, bias, None, 0.0,
                     layer.leak, Reset.SOFT, 1, False, None, layer.readout)


def _beside(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return values (outputs,) in a shape that goes with weights (outputs, ...)."""
    return values.reshape(-1, *[1] * (weights.ndim - 1))


def _dividing(unit: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return the smallest units, not below these, that divide the thresholds, if there are any.

    One that divides already stays, to whatever side of a whole number the quotient is rounded.
    """
    times = np.floor(threshold / np.maximum(unit, TINY) * (1 + 1e-9))
    return np.where(times >= 1, threshold / np.maximum(times, 1.0), unit)


def _best_unit(real: RealLayer, base: np.ndarray, shift: int, shared: bool,
               exact_thresholds: bool) -> np.ndarray:
    """Return ``base / q`` (outputs,) for the (largest) q at which rounding changes gains least."""
    q = np.arange(1 << shift, (1 << shift) // 2, -1)[:, None, None]
    units = base / q                                             # (candidates, 1, outputs)
    if exact_thresholds and real.threshold is not None:
        units = np.where(units > 0, _dividing(np.minimum(units, real.threshold), real.threshold),
                         units)
    gains = np.stack([real.plus, real.minus])                    # (2, outputs)
    scaled = gains / np.where(units > 0, units, 1.0)
    error = ((np.rint(scaled) * units - gains) ** 2).sum(1)      # (candidates, outputs)
    if shared:
        error = np.broadcast_to(error.sum(1, keepdims=True), error.shape)
    return np.take_along_axis(units[:, 0], error.argmin(0)[None], 0)[0]


def _membrane_bits(layer: DenseLayer | ConvLayer, real: RealLayer, timesteps: int) -> int:
    """Return the width at which no input can make a membrane saturate, or as much as it did."""
    bits = layer_bounds(layer, real.source_max, timesteps, source_min=real.source_min).membrane_bits
    if real.saturation is not None:
        most = math.ceil(real.saturation * int(layer.threshold.max()))
        bits = min(bits, bits_needed(-most, most))
    return max(2, bits)


def _sized(layer: DenseLayer | ConvLayer, number: int, real: RealLayer, timesteps: int,
           settings: FoldSettings) -> DenseLayer | ConvLayer:
    """Give a layer its membrane width."""
    need = _membrane_bits(layer, real, timesteps)
    if need > settings.membrane_bits and not settings.saturate:
        raise FoldError(f"layer {number}: membranes need {need} bits, the limit is "
                        f"{settings.membrane_bits}, and they may not saturate")
    return dataclasses.replace(layer, membrane_bits=min(need, settings.membrane_bits))


def _finest_shift(real: RealLayer, timesteps: int, settings: FoldSettings) -> int:
    """Return the largest shift at which the layer can't saturate, 0 if there is none."""
    for shift in range(MAX_SHIFT, 0, -1):
        layer, _ = round_layer(real, shift, exact_thresholds=settings.exact_thresholds)
        need = _membrane_bits(layer, real, timesteps)
        if need <= settings.membrane_bits:
            return shift
    return 0


def _integer_network(model: SpikingNetwork, layers: Sequence[RealLayer], shifts: Sequence[int],
                     coding: Coding, settings: FoldSettings,
                     metadata: Mapping[str, str]) -> tuple[IntegerNetwork, float]:
    """Round all layers; return the network and the readout's unit."""
    rounded = [round_layer(real, shift, exact_thresholds=settings.exact_thresholds)
               for real, shift in zip(layers, shifts, strict=True)]
    unit = float(rounded[-1][1][0])
    integer, weighted = [], zip(layers, rounded, strict=True)
    for number, layer in enumerate([*model.firing_layers(), model.readout]):
        if isinstance(layer, MergeNeurons):
            integer.append(_integer_merge(layer, model.timesteps))
        else:
            real, (found, _) = next(weighted)
            integer.append(_sized(found, number, real, model.timesteps, settings))
    static = coding is Coding.STATIC
    network = IntegerNetwork(
        input=InputCoding.STATIC if static else InputCoding.SPIKES,
        input_bits=model.input_bits if static else 1, timesteps=model.timesteps,
        layers=tuple(integer),
        metadata={**metadata, "coding": coding.value, "readout_unit": repr(unit),
                  "shifts": " ".join(map(str, shifts)),
                  **({"input_shift": str(model.input_shift)} if model.input_shift else {})},
        input_shape=model.architecture.shape)
    return network, unit


def _integer_merge(layer: MergeNeurons, timesteps: int) -> MergeLayer:
    """Return a merge with room for all that two sources of 15 can leave to a barrier."""
    most = 2 * MAX_LEVELS * (timesteps if layer.neuron.reset is Reset.SOFT else 1)
    return layer.spec.integer_layer(z_max=layer.neuron.z_max, signed=layer.neuron.signed,
                                    membrane_bits=bits_needed(-most, most))


def _layer_fold(network: IntegerNetwork, number: int, shift: int) -> LayerFold:
    """Describe a folded layer."""
    layer = network.layer(number)
    gain = max(int(layer.gain_plus.max()), int(layer.gain_minus.max()))
    return LayerFold(shift, gain.bit_length(),
                     bits_needed(int(layer.bias.min()), int(layer.bias.max())),
                     int(layer.threshold.max()).bit_length(), layer.membrane_bits,
                     network.bounds(number).saturates)


def _execute_float(model: SpikingNetwork, inputs: np.ndarray) -> Iterator[_Reference]:
    """Run the float network in inference mode, some samples at a time."""
    model.eval()
    for start in range(0, len(inputs), BATCH):
        batch = inputs[start:start + BATCH]
        with torch.no_grad():
            activity = model(as_inputs(batch))
        yield _Reference(
            batch >> model.input_shift,
            tuple(layer.transpose(0, 1).to(torch.int8).flatten(2).numpy()
                  for layer in activity.spikes),
            activity.logits.double().numpy())


def _settled(references: Iterable[_Reference], network: IntegerNetwork, layers: int,
             ) -> list[_Reference]:
    """Return the references with the spikes of so many layers, which need not be run again."""
    from model.golden import execute

    return [each._replace(known=execute(network, each.inputs, known=each.known).spikes[:layers])
            for each in references]


def _compare(references: Iterable[_Reference], network: IntegerNetwork, unit: float,
             labels: np.ndarray) -> RoundingCost:
    """Measure what the integer network does differently."""
    from model.golden import execute

    compared, mismatches, logits, readout, found = [], [], [], [], []
    for reference in references:
        trace = execute(network, reference.inputs, known=reference.known)
        compared.append([layer.size for layer in reference.spikes])
        mismatches.append([np.count_nonzero(ours != theirs) for ours, theirs
                           in zip(trace.spikes, reference.spikes, strict=True)])
        logits.append(reference.logits)
        readout.append(trace.readout)
        found.append(trace.classes)
    expected = _centred(np.concatenate(logits))
    error = _centred(np.concatenate(readout) * (unit / network.timesteps)) - expected
    classes, found = np.concatenate(logits).argmax(1), np.concatenate(found)
    return RoundingCost(
        samples=len(labels),
        compared=tuple(int(count) for count in np.sum(compared, axis=0)),
        mismatches=tuple(int(count) for count in np.sum(mismatches, axis=0)),
        class_changes=int(np.count_nonzero(found != classes)),
        float_accuracy=float(np.mean(classes == labels)),
        integer_accuracy=float(np.mean(found == labels)),
        logit_noise=float(np.sqrt(np.mean(error**2) / max(np.mean(expected**2), TINY))))


def _centred(logits: np.ndarray) -> np.ndarray:
    """Remove what all classes have in common: it decides nothing."""
    return logits - logits.mean(1, keepdims=True)
