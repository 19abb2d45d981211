"""Data sets on disk: the files of each, read and checked; every problem is a `DataError`.

``MNIST/raw`` and ``FashionMNIST/raw`` hold the IDX files that torchvision keeps
(``train-images-idx3-ubyte`` and so on, plain or ``.gz``). CIFAR-10 is the set's own binary
version, ``cifar-10-batches-bin``, or one ``.npz`` file of WebP sheets, Salinas-A an ``.npz`` file
of the scene and its labels. Of spoken digits and of N-MNIST there is an ``.npz`` file, too: all
recordings one after the other, and where each begins.
"""

from __future__ import annotations

import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from model.speech import band_levels, expand

__all__ = ["DataError", "read_arrays", "read_cifar10", "read_fsdd", "read_idx_set", "read_nmnist",
           "read_salinas_a"]

IDX_FILES = (("train-images-idx3-ubyte", 3), ("train-labels-idx1-ubyte", 1),
             ("t10k-images-idx3-ubyte", 3), ("t10k-labels-idx1-ubyte", 1))
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_FILE = "cifar10_webp_lossless.npz"
CIFAR10_ARRAYS = ("train_img", "train_off", "train_y", "test_img", "test_off", "test_y")
CIFAR10_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
SALINAS_FILE = "salinas_a.npz"
SALINAS_BANDS = 8          # bands of the scene that are averaged to one
SALINAS_PATCH = 7          # pixels: a sample is the square around a labelled pixel
SALINAS_SEED = 1           # of the split into training and test pixels
FSDD_FILE = "fsdd_8khz_mulaw.npz"
FSDD_TEST = 5              # recordings of a speaker and digit that are for testing, the first ones
NMNIST_FILE = "nmnist_1000_100.npz"
NMNIST_MAP = (2, 34, 34)   # polarities, rows, columns
NMNIST_STEPS = 3           # the sensor moved along the three sides of a triangle, ...
NMNIST_STEP = 105          # ... ms each
MAX_BYTES = 1 << 32        # of one decoded array: stops a corrupt header or a decompression bomb


class DataError(ValueError):
    """A data set that is missing, damaged, or not of the expected form."""


def read_idx_set(raw: Path) -> list[np.ndarray]:
    """Return training images and labels, test images and labels of a folder of IDX files."""
    return [_read_idx(raw / file, dimensions) for file, dimensions in IDX_FILES]


def read_cifar10(folder: Path) -> list[np.ndarray]:
    """Return training images (samples, 3, 32, 32) and labels, test images and labels."""
    batches = folder / CIFAR10_FOLDER
    if batches.is_dir():
        *train, test = (_read_batch(batches / name) for name in CIFAR10_BATCHES)
        images, labels = zip(*train, strict=True)
        return [np.concatenate(images), np.concatenate(labels), *test]
    path = folder / CIFAR10_FILE
    train, train_ends, train_y, test, test_ends, test_y = read_arrays(path, CIFAR10_ARRAYS)
    return [_read_sheets(train, train_ends, path), train_y,
            _read_sheets(test, test_ends, path), test_y]


def read_salinas_a(folder: Path) -> list[np.ndarray]:
    """Return training patches and labels, test patches and labels of the Salinas-A scene.

    A sample is the patch around a labelled pixel, with the mean of each eight neighbouring bands as
    a channel, scaled to 0..255 over the scene; at the border the scene is mirrored. Half of the
    pixels, at random, are for training. That is the split customary for this scene, and an easy
    one: patches of neighbours overlap, whichever side they are on.
    """
    path = folder / SALINAS_FILE
    scene, truth = read_arrays(path, ("x", "gt"))
    if scene.ndim != 3 or truth.shape != scene.shape[:2]:
        raise DataError(f"{path}: x and gt must have shapes (rows, columns, bands) and (rows, "
                        f"columns), not {scene.shape} and {truth.shape}")
    bands = scene.shape[2] // SALINAS_BANDS
    grouped = scene[..., :bands * SALINAS_BANDS].reshape(*truth.shape, bands, SALINAS_BANDS)
    means = grouped.mean(3)
    low, high = means.min((0, 1)), means.max((0, 1))
    values = np.rint(255 * (means - low) / np.maximum(high - low, 1)).astype(np.uint8)
    edge = SALINAS_PATCH // 2
    padded = np.pad(values, ((edge, edge), (edge, edge), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SALINAS_PATCH,) * 2, axis=(0, 1))
    rows, columns = np.nonzero(truth)
    _, labels = np.unique(truth[rows, columns], return_inverse=True)
    order = np.random.default_rng(SALINAS_SEED).permutation(len(rows))
    train, test = np.array_split(order, 2)
    return [windows[rows[train], columns[train]], labels[train],
            windows[rows[test], columns[test]], labels[test]]


def read_fsdd(folder: Path) -> list[np.ndarray]:
    """Return training maps and labels, test maps and labels of the Free Spoken Digit Dataset.

    The set has 50 recordings of each digit by each of six speakers, numbered from 0; numbers 0 to 4
    are the set's own test split, so that its speakers are those of the training.

    The file holds mu-law ``audio``, 8 kHz, uint8 (all samples,), with ``offsets`` (recordings + 1,)
    of its recordings, and of each its digit ``y`` and its number ``idx``. A sample is the map
    (24, 1, 32) that `model.speech.band_levels` makes of a recording.
    """
    path = folder / FSDD_FILE
    audio, offsets, labels, numbers = read_arrays(path, ("audio", "offsets", "y", "idx"))
    if audio.dtype != np.uint8:
        raise DataError(f"{path}: audio must hold mu-law codes of uint8, not {audio.dtype}")
    _lengths(path, {"audio": audio}, offsets, {"y": labels, "idx": numbers})
    maps = np.stack([band_levels(expand(codes)) for codes in np.split(audio, offsets[1:-1])])
    return _split(maps, labels, numbers >= FSDD_TEST)


def read_nmnist(folder: Path) -> list[np.ndarray]:
    """Return training events and labels, test events and labels of a subset of N-MNIST.

    1,000 recordings of the training set and 100 of the test set: enough to show that events run
    from end to end, not to be compared with accuracies on all 70,000.

    A sample is (3, 2, 34, 34): for each 105 ms, which is one of the sensor's three movements, 1 at
    each polarity, row and column where there was an event, however many. What came after the last
    movement is left out.

    The file holds ``addr`` uint16 (all events,), the flat index of an event's (polarity, row,
    column), its time ``t_ms`` since the recording's beginning, with ``offsets`` (recordings + 1,)
    of its recordings, and of each its digit ``y`` and whether it is for training, ``train``.
    """
    path = folder / NMNIST_FILE
    addresses, times, offsets, labels, train = read_arrays(
        path, ("addr", "t_ms", "offsets", "y", "train"))
    lengths = _lengths(path, {"addr": addresses, "t_ms": times}, offsets,
                       {"y": labels, "train": train})
    pixels, recordings = math.prod(NMNIST_MAP), len(lengths)
    if addresses.min() < 0 or addresses.max() >= pixels or times.min() < 0:
        raise DataError(f"{path}: addr must be 0..{pixels - 1} and t_ms from 0, not "
                        f"{addresses.min()}..{addresses.max()} and from {times.min()}")
    steps = times // NMNIST_STEP
    seen = steps < NMNIST_STEPS
    recording = np.repeat(np.arange(recordings), lengths)
    events = np.zeros((recordings, NMNIST_STEPS, pixels), np.uint8)
    events[recording[seen], steps[seen], addresses[seen]] = 1
    return _split(events.reshape(recordings, NMNIST_STEPS, *NMNIST_MAP), labels, train != 0)


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Read these arrays of an ``.npz`` file without ever unpickling."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size
                     for info in archive.infolist()}
        missing = [name for name in names if name not in sizes]
        if missing:
            raise DataError(f"{path}: array {', '.join(missing)} is missing; "
                            f"expected {', '.join(names)}")
        for name in names:
            if sizes[name] > MAX_BYTES:
                raise DataError(f"{path}: {name} has {sizes[name]} bytes, more than {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, MemoryError) as error:
        raise DataError(f"{path}: not a valid .npz file ({error})") from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: an array can't be read ({error})") from None


def _lengths(path: Path, contents: dict[str, np.ndarray], offsets: np.ndarray,
             details: dict[str, np.ndarray]) -> np.ndarray:
    """Return the lengths of the recordings that offsets cut the contents into.

    Each has one element of the details.
    """
    for name, array in ({"offsets": offsets} | contents | details).items():
        if array.ndim != 1 or array.dtype.kind not in ("iub" if name in details else "iu"):
            raise DataError(f"{path}: {name} must be a vector of integers, not {array.dtype} "
                            f"{array.shape}")
    # Differences of unsigned integers are never below 0.
    lengths = np.diff(offsets.astype(np.int64))
    for name, array in contents.items():
        if len(lengths) == 0 or offsets[0] != 0 or offsets[-1] != len(array) or lengths.min() < 1:
            raise DataError(f"{path}: offsets must rise from 0 to the {len(array)} elements of "
                            f"{name}")
    for name, array in details.items():
        if len(array) != len(lengths):
            raise DataError(f"{path}: {name} has {len(array)} elements for {len(lengths)} "
                            f"recordings")
    return lengths


def _split(samples: np.ndarray, labels: np.ndarray, train: np.ndarray) -> list[np.ndarray]:
    """Return the training samples and their labels, and the others and theirs."""
    return [samples[train], labels[train], samples[~train], labels[~train]]


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzipped (``path`` or ``path.gz``)."""
    zipped = path.with_name(path.name + ".gz")
    try:
        if path.exists():
            with path.open("rb") as file:
                return _parse_idx(file, path, dimensions)
        with gzip.open(zipped, "rb") as file:
            return _parse_idx(file, zipped, dimensions)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, nor {zipped.name}") from None
    except EOFError:
        raise DataError(f"{zipped}: truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{zipped}: not a valid gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None


def _parse_idx(file: IO[bytes] | gzip.GzipFile, path: Path, dimensions: int) -> np.ndarray:
    """Read magic, sizes and exactly the bytes that the sizes announce."""
    header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, 8, dimensions])
    if header[:4] != magic[:len(header)]:
        raise DataError(f"{path}: magic number {header[:4].hex()}, expected {magic.hex()} "
                        f"(IDX, unsigned bytes, {dimensions} dimensions)")
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: truncated in its header")
    shape = tuple(int.from_bytes(header[4 + 4 * n:8 + 4 * n], "big") for n in range(dimensions))
    size = math.prod(shape)
    if size > MAX_BYTES:
        raise DataError(f"{path}: header announces {size} bytes, more than {MAX_BYTES}")
    body = file.read(size + 1)
    if len(body) != size:
        problem = "truncated: fewer" if len(body) < size else "has more"
        raise DataError(f"{path}: {problem} than the {size} bytes that its header announces")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read images and labels of CIFAR-10's binary version: records of a label and 3x32x32 bytes."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if not len(content) or len(content) % 3073:
        raise DataError(f"{path}: {len(content)} bytes are not records of 3073")
    records = content.reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _read_sheets(content: np.ndarray, offsets: np.ndarray, path: Path) -> np.ndarray:
    """Decode WebP sheets of images side by side, row by row, into (samples, 3, 32, 32)."""
    from PIL import Image, UnidentifiedImageError

    images = []
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        try:
            with Image.open(io.BytesIO(content[start:end].tobytes())) as image:
                sheet = np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path}: an image sheet can't be read ({error})") from None
        height, width, _ = sheet.shape
        if height % 32 or width % 32:
            raise DataError(f"{path}: a sheet of {height} by {width} pixels does not hold images "
                            f"of 32 by 32")
        tiles = sheet.reshape(height // 32, 32, width // 32, 32, 3).transpose(0, 2, 4, 1, 3)
        images.append(tiles.reshape(-1, 3, 32, 32))
    if not images:
        raise DataError(f"{path}: no image sheets")
    return np.concatenate(images)
