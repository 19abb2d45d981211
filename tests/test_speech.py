"""The front end for speech: levels of tones and silences that can be told beforehand."""

import numpy as np
import pytest

from model.speech import BANDS, FRAMES, RATE, band_levels, expand

CODES = np.arange(256, dtype=np.uint8)


def tone(frequency: float, samples: int = 5216) -> np.ndarray:
    """Return a tone of amplitude 1; by default as long as all frames."""
    return np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)


def test_codes_are_those_of_mu_law():
    """The encoder's equation gives every code back; codes rise with the amplitude, both ways."""
    amplitudes = expand(CODES)
    compressed = np.sign(amplitudes) * np.log1p(255 * np.abs(amplitudes)) / np.log(256)
    np.testing.assert_array_equal(np.rint(127.5 * (compressed + 1)), CODES)
    np.testing.assert_allclose(amplitudes, -amplitudes[::-1])
    assert amplitudes[0] == -1 and amplitudes[255] == 1 and (np.diff(amplitudes) > 0).all()


@pytest.mark.parametrize(("frequency", "band"), [(250, 3), (1000, 11), (2000, 17), (3750, 23)])
def test_a_tone_is_in_its_band(frequency, band):
    """Of 24 bands to 2146 mel, 85.8 mel apart: 1000 Hz are 1000 mel, nearest to 12 times that."""
    levels = band_levels(tone(frequency))
    assert levels.shape == (BANDS, 1, FRAMES) and levels.dtype == np.uint8
    assert set(levels[:, 0].argmax(0)) == {band} and levels.max() == 255
    assert not levels[np.abs(np.arange(BANDS) - band) > 3].any()


def test_levels_are_decibels():
    """20 dB less are 255 * 20 / 48 less; 60 dB less are 0."""
    audio = tone(250)
    audio[2560:3840] /= 10
    audio[3840:] /= 1000
    # Frames 0 to 14 end before the first step, 24 starts at the second.
    band = band_levels(audio)[3, 0]
    assert np.ptp(band[:15]) <= 1 and band[0] == 255
    np.testing.assert_array_equal(band[16:23], np.rint(255 * (1 - 20 / 48)))
    assert not band[24:].any()


def test_loudness_is_no_matter():
    audio = np.random.default_rng(3).normal(size=5216)
    np.testing.assert_array_equal(band_levels(audio), band_levels(audio / 1024))


def test_silence_and_recordings_of_any_length():
    for silence in (np.zeros(5216), np.zeros(1)):
        assert not band_levels(silence).any()
    short = band_levels(tone(1000, 1600))
    # Frame 9 starts at 1440, frame 10 at the end.
    assert short[11, 0, :10].all() and not short[..., 10:].any()
    np.testing.assert_array_equal(band_levels(tone(1000, 9000)), band_levels(tone(1000)))
