"""Spoken words as maps of 8-bit levels: what a microphone's small front end would send.

The chain is the usual one of keyword spotting: overlapping windows, power spectra, bands on the mel
scale, logarithms. It knows one recording at a time and nothing of the others, so that nothing of a
test set reaches the training, and it needs no more than an FFT of 256 points, a table of band
weights and a logarithm for each band of each frame.
"""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["BANDS", "FRAMES", "RATE", "band_levels", "expand"]

RATE = 8000            # samples a second
WINDOW = 256           # samples of a frame: 32 ms
HOP = 160              # samples from a frame to the next: 20 ms
FRAMES = 32            # 0.652 s, what is longer is cut
BANDS = 24             # triangles, evenly spread over the mel scale from 0 to RATE / 2
RANGE = 48.0           # dB below the loudest band of a recording, which become 0

_MU = 255.0


def expand(codes: np.ndarray) -> np.ndarray:
    """Return the amplitudes -1..1 of mu-law codes, 256 of them with silence between 127 and 128.

    ``sign(c) * (256**|c| - 1) / 255`` of ``c = code / 127.5 - 1``: the curve itself, which ITU-T
    G.711 makes of straight pieces, and with its bytes in another order.

    Parameters
    ----------
    codes : uint8 (...)
    """
    compressed = codes / (_MU / 2) - 1
    return np.sign(compressed) * ((1 + _MU) ** np.abs(compressed) - 1) / _MU


def band_levels(audio: np.ndarray) -> np.ndarray:
    """Return the levels of a recording's bands over time.

    Of each window, under Hann's, the squared spectrum is summed by overlapping triangles, whose
    corners are evenly spread over ``mel = 2595 log10(1 + f / 700 Hz)`` (O'Shaughnessy, "Speech
    communication", 1987). Levels are in dB relative to the loudest band of the whole recording:
    0 dB is 255, -48 dB and all below is 0. The first frame begins where the recording begins; after
    its end there is silence, 0.

    Parameters
    ----------
    audio : float (samples,)
        Amplitudes at 8 kHz, of any scale.

    Returns
    -------
    uint8 (BANDS, 1, FRAMES)
        0..255; the bands are channels of a map one pixel high, so that a convolution moves over
        time alone.
    """
    length = WINDOW + HOP * (FRAMES - 1)
    padded = np.zeros(length)
    padded[:len(audio)] = audio[:length]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    # The periodic window, of which the last sample would be that of the next period's beginning.
    spectra = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1])) ** 2
    power = _triangles() @ spectra.T
    share = power / max(power.max(), np.finfo(float).tiny)
    levels = 1 + 10 * np.log10(np.maximum(share, 10 ** (-RANGE / 10))) / RANGE
    return np.rint(255 * levels).astype(np.uint8)[:, np.newaxis]


@functools.cache
def _triangles() -> np.ndarray:
    """Return the weights (BANDS, WINDOW // 2 + 1) of a spectrum's bins in each band."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    low, middle, high = (corners[start:start + BANDS, np.newaxis] for start in range(3))
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    return np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
