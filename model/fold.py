"""Folding: a trained ternary network becomes an `IntegerNetwork`, and what the rounding cost.

In inference a trained layer computes, per output channel and step, a current
``I = plus * P - minus * N + bias`` from its counts ``P, N``: batch norm's ``g, c`` and the scale of
the input (1/255 for pixels) give ``plus = |g| a_p s``, ``minus = |g| a_n s``, ``bias = c``, and a
negative ``g`` swaps the + and - weights. Leak and reset are linear, so that a neuron may be divided
by any positive unit without changing its spikes. With ``unit = minus / q``::

    gain_minus = q            gain_plus = round(plus / unit)
    bias = round(bias / unit) threshold = round(threshold / unit)

Any q of ``2^(shift-1) + 1 .. 2^shift`` is about as fine for bias and threshold; each channel takes
the one whose ``gain_plus / gain_minus`` comes nearest to ``plus / minus``. That is worth about two
more bits than q = 2^shift for all, and costs nothing.

Where no channel may have a unit of its own, all share one: in a readout layer, whose neurons are
compared with one another, and in a layer that starts from a membrane other than 0, because the
integer machine has one initial membrane a layer. There q is the largest gain.

`shift` is the smallest of each layer whose rounding can't be measured on calibration samples; see
`RoundingCost.measurable`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from model.bounds import bits_needed, layer_bounds
from model.data import Coding
from model.layers import ReadoutLayer, SpikingLayer, SpikingNetwork, as_inputs
from model.network import DenseLayer, InputCoding, IntegerNetwork, Readout, Reset

__all__ = ["FoldError", "FoldReport", "FoldSettings", "LayerFold", "RealLayer", "RoundingCost",
           "fold", "real_layers", "round_layer", "rounding_cost"]

MAX_SHIFT = 7
GAIN_MAX = 255                       # 8 bits
VALUE_MAX = (1 << 19) - 1            # bias and threshold: 20 bits, signed
INPUT_MAX = 255                      # of an 8-bit input value
INPUT_SCALE = 1 / INPUT_MAX
CONSTANT_LEVELS = 1 << 12            # resolution of a neuron that has no input
MOST_CHANGES = 0.01                  # share of the samples
MOST_NOISE = 0.1
TINY = 1e-30
BATCH = 1000


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
        0..7, one a layer; searched for if not given.
    membrane_bits : int
        The widest membrane. A layer gets the smallest width at which no input can make it
        saturate, if that is not wider.
    saturate : bool
        Whether a layer that would need a wider membrane gets this one and saturates. What that
        costs is measured together with the rounding, and is usually nothing: a membrane so far
        from its thresholds fires z_max, or stays silent, at either width.
    """

    samples: int = 5000
    shifts: tuple[int, ...] | None = None
    membrane_bits: int = 20
    saturate: bool = True

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

    signs: np.ndarray                   #: int8 (outputs, inputs) in {-1, 0, 1}
    source_max: int                     #: largest count of an input
    plus: np.ndarray                    #: >= 0
    minus: np.ndarray                   #: >= 0
    bias: np.ndarray
    threshold: np.ndarray | None        #: > 0; None for a readout layer
    v_init: float                       #: initial membrane; 0 for a readout layer
    leak: tuple[int, ...]
    reset: Reset
    z_max: int                          #: largest count of a spike; 1 for a readout layer
    readout: Readout | None


@dataclass(frozen=True)
class LayerFold:
    """What a layer became."""

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
    compared: tuple[int, ...]          #: spikes and silences compared, each spiking layer
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
    """Widths of every layer and the cost on the calibration samples."""

    layers: tuple[LayerFold, ...]
    calibration: RoundingCost


class _Reference(NamedTuple):
    """What the float network does with the samples."""

    spikes: tuple[np.ndarray, ...]     # uint8 (samples, steps, neurons), counts
    logits: np.ndarray                 # float64 (samples, classes)


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
    reference = _execute_float(model, inputs)

    def build(shifts: Sequence[int]) -> tuple[IntegerNetwork, float]:
        return _integer_network(layers, shifts, model.timesteps, coding, settings, metadata or {})

    def cost(shifts: Sequence[int]) -> RoundingCost:
        network, unit = build(shifts)
        return _compare(reference, network, unit, inputs, labels)

    if settings.shifts is None:
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
    else:
        shifts = list(settings.shifts)
        if len(shifts) != len(layers):
            raise FoldError(f"{len(shifts)} shifts are given for {len(layers)} layers")
    network, unit = build(shifts)
    report = FoldReport(
        tuple(_layer_fold(network, number, shift) for number, shift in enumerate(shifts)),
        _compare(reference, network, unit, inputs, labels))
    return network, report


def real_layers(model: SpikingNetwork, coding: Coding) -> list[RealLayer]:
    """Return the layers as real numbers: scales, batch norm and input scale multiplied out.

    Raises
    ------
    FoldError
        If a layer is not ternary or holds a number that is not finite.
    """
    real = []
    scale, source_max = (INPUT_SCALE, INPUT_MAX) if coding is Coding.STATIC else (1.0, 1)
    for number, layer in enumerate([*model.spiking_layers(), model.readout]):
        real.append(_real_layer(layer, scale, source_max, f"layer {number}"))
        scale, source_max = 1.0, real[-1].z_max
    return real


def round_layer(real: RealLayer, shift: int) -> tuple[DenseLayer, np.ndarray]:
    """Round a layer to integers at a shift.

    A channel whose highest level (z_max thresholds), bias or gain would leave its range gets a unit
    coarser by a power of two. Such a neuron hardly depends on its inputs, or hardly on one sign of
    them.

    Returns
    -------
    layer : DenseLayer
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
    unit = _best_unit(real, base, shift, shared)
    level = np.maximum(threshold, np.abs(real.bias)) / CONSTANT_LEVELS
    unit = np.where(base > 0, unit, np.where(level > 0, level, 1.0))
    excess = np.maximum(np.maximum(real.z_max * threshold, np.abs(real.bias)) / VALUE_MAX,
                        largest / GAIN_MAX) / unit
    if shared:
        excess[:] = excess.max()
    unit = unit * 2.0 ** np.ceil(np.log2(np.maximum(excess, 1.0)))

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.rint(values / unit).astype(np.int64)

    spiking = real.threshold is not None
    layer = DenseLayer(
        weights=real.signs, gain_plus=rounded(real.plus), gain_minus=rounded(real.minus),
        bias=rounded(real.bias),
        threshold=np.maximum(rounded(threshold), 1) if spiking else rounded(threshold),
        leak=real.leak, reset=real.reset, v_init=int(np.rint(real.v_init / unit[0])),
        membrane_bits=32, z_max=real.z_max, readout=real.readout)
    return layer, unit


def rounding_cost(model: SpikingNetwork, network: IntegerNetwork, inputs: np.ndarray,
                  labels: np.ndarray) -> RoundingCost:
    """Compare a folded network with the model that it came from, on any encoded samples."""
    unit = float(network.metadata["readout_unit"])
    return _compare(_execute_float(model, inputs), network, unit, inputs, labels)


def _real_layer(layer: SpikingLayer | ReadoutLayer, scale: float, source_max: int,
                where: str) -> RealLayer:
    """Multiply out one layer in float64."""
    if layer.quantiser is None:
        raise FoldError(f"{where}: weights are full precision; only ternary layers can be folded")
    codes = layer.quantiser.codes(layer.weight)
    norm = layer.norm

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
    signs = np.where(flipped[:, None], -signs, signs).astype(np.int8)
    # A side without weights has no say in the unit, whatever its scale is.
    plus = np.where((signs > 0).any(1), plus, 0.0)
    minus = np.where((signs < 0).any(1), minus, 0.0)
    if isinstance(layer, SpikingLayer):
        threshold = float(exact(layer.firing_threshold()))
        neuron = layer.neuron
        return RealLayer(signs, source_max, plus, minus, bias, np.full(len(bias), threshold),
                         neuron.v_init * threshold, neuron.leak, neuron.reset, neuron.z_max, None)
    return RealLayer(signs, source_max, plus, minus, bias, None, 0.0, layer.leak, Reset.SOFT, 1,
                     layer.readout)


def _best_unit(real: RealLayer, base: np.ndarray, shift: int, shared: bool) -> np.ndarray:
    """Return ``base / q`` (outputs,) for the (largest) q at which rounding changes gains least."""
    q = np.arange(1 << shift, (1 << shift) // 2, -1)[:, None, None]
    units = base / q                                             # (candidates, 1, outputs)
    gains = np.stack([real.plus, real.minus])                    # (2, outputs)
    scaled = gains / np.where(units > 0, units, 1.0)
    error = ((np.rint(scaled) * units - gains) ** 2).sum(1)      # (candidates, outputs)
    if shared:
        error = np.broadcast_to(error.sum(1, keepdims=True), error.shape)
    return np.take_along_axis(units[:, 0], error.argmin(0)[None], 0)[0]


def _membrane_bits(layer: DenseLayer, source_max: int, timesteps: int) -> int:
    """Return the width at which no input can make a membrane saturate."""
    return max(2, layer_bounds(layer, source_max, timesteps).membrane_bits)


def _sized(layer: DenseLayer, number: int, source_max: int, timesteps: int,
           settings: FoldSettings) -> DenseLayer:
    """Give a layer its membrane width."""
    need = _membrane_bits(layer, source_max, timesteps)
    if need > settings.membrane_bits and not settings.saturate:
        raise FoldError(f"layer {number}: membranes need {need} bits, the limit is "
                        f"{settings.membrane_bits}, and they may not saturate")
    return dataclasses.replace(layer, membrane_bits=min(need, settings.membrane_bits))


def _finest_shift(real: RealLayer, timesteps: int, settings: FoldSettings) -> int:
    """Return the largest shift at which the layer can't saturate, 0 if there is none."""
    for shift in range(MAX_SHIFT, 0, -1):
        need = _membrane_bits(round_layer(real, shift)[0], real.source_max, timesteps)
        if need <= settings.membrane_bits:
            return shift
    return 0


def _integer_network(layers: Sequence[RealLayer], shifts: Sequence[int], timesteps: int,
                     coding: Coding, settings: FoldSettings,
                     metadata: Mapping[str, str]) -> tuple[IntegerNetwork, float]:
    """Round all layers; return the network and the readout's unit."""
    rounded = [round_layer(real, shift) for real, shift in zip(layers, shifts, strict=True)]
    sized = tuple(_sized(layer, number, real.source_max, timesteps, settings)
                  for number, (real, (layer, _)) in enumerate(zip(layers, rounded, strict=True)))
    unit = float(rounded[-1][1][0])
    static = coding is Coding.STATIC
    network = IntegerNetwork(
        input=InputCoding.STATIC if static else InputCoding.SPIKES,
        input_bits=8 if static else 1, timesteps=timesteps, layers=sized,
        metadata={**metadata, "coding": coding.value, "readout_unit": repr(unit),
                  "shifts": " ".join(map(str, shifts))})
    return network, unit


def _layer_fold(network: IntegerNetwork, number: int, shift: int) -> LayerFold:
    """Describe a folded layer."""
    layer = network.layers[number]
    gain = max(int(layer.gain_plus.max()), int(layer.gain_minus.max()))
    return LayerFold(shift, gain.bit_length(),
                     bits_needed(int(layer.bias.min()), int(layer.bias.max())),
                     int(layer.threshold.max()).bit_length(), layer.membrane_bits,
                     network.bounds(number).saturates)


@torch.no_grad()
def _execute_float(model: SpikingNetwork, inputs: np.ndarray) -> _Reference:
    """Run the float network in inference mode."""
    model.eval()
    spikes, logits = [], []
    for start in range(0, len(inputs), BATCH):
        activity = model(as_inputs(inputs[start:start + BATCH]))
        spikes.append([layer.transpose(0, 1).byte().numpy() for layer in activity.spikes])
        logits.append(activity.logits.double().numpy())
    return _Reference(tuple(np.concatenate(layer) for layer in zip(*spikes, strict=True)),
                      np.concatenate(logits))


def _compare(reference: _Reference, network: IntegerNetwork, unit: float, inputs: np.ndarray,
             labels: np.ndarray) -> RoundingCost:
    """Measure what the integer network does differently."""
    from model.golden import execute

    trace = execute(network, inputs)
    expected = _centred(reference.logits)
    error = _centred(trace.readout * (unit / network.timesteps)) - expected
    classes = reference.logits.argmax(1)
    return RoundingCost(
        samples=len(labels),
        compared=tuple(layer.size for layer in reference.spikes),
        mismatches=tuple(int(np.count_nonzero(ours != theirs)) for ours, theirs
                         in zip(trace.spikes, reference.spikes, strict=True)),
        class_changes=int(np.count_nonzero(trace.classes != classes)),
        float_accuracy=float(np.mean(classes == labels)),
        integer_accuracy=float(np.mean(trace.classes == labels)),
        logit_noise=float(np.sqrt(np.mean(error**2) / max(np.mean(expected**2), TINY))))


def _centred(logits: np.ndarray) -> np.ndarray:
    """Remove what all classes have in common: it decides nothing."""
    return logits - logits.mean(1, keepdims=True)
