"""Data sets: what is read is what was written, and every kind of bad file is named."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data import Coding, DataError, Dataset, encode, load
from model.speech import band_levels, expand

RANDOM = np.random.default_rng(5)
IMAGES = {"train": RANDOM.integers(0, 256, (30, 4, 5), dtype=np.uint8),
          "t10k": RANDOM.integers(0, 256, (20, 4, 5), dtype=np.uint8)}
LABELS = {"train": np.arange(30, dtype=np.uint8) % 10, "t10k": np.arange(20, dtype=np.uint8) % 10}


def idx(array: np.ndarray) -> bytes:
    """Return the bytes of an IDX file."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder: Path, *, zipped: bool = True) -> Path:
    """Write a small MNIST into `folder` and return its raw folder."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for name, array in ((f"{part}-images-idx3-ubyte", IMAGES[part]),
                            (f"{part}-labels-idx1-ubyte", LABELS[part])):
            if zipped:
                (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (raw / name).write_bytes(idx(array))
    return raw


def arrays(**changes: object) -> dict:
    """Return the arrays of a valid data set, some of them changed."""
    good = {"train_x": IMAGES["train"], "train_y": LABELS["train"],
            "test_x": IMAGES["t10k"], "test_y": LABELS["t10k"]}
    return {**good, **changes}


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read(tmp_path, zipped):
    write_idx(tmp_path, zipped=zipped)
    data = load("mnist", tmp_path)
    np.testing.assert_array_equal(data.train_x, IMAGES["train"])
    np.testing.assert_array_equal(data.test_x, IMAGES["t10k"])
    np.testing.assert_array_equal(data.train_y, LABELS["train"])
    np.testing.assert_array_equal(data.test_y, LABELS["t10k"])
    assert (data.classes, data.shape, data.inputs()) == (10, (4, 5), 20)
    assert data.train_x.dtype == np.uint8 and not data.train_x.flags.writeable


def test_folder_from_environment(tmp_path, monkeypatch):
    write_idx(tmp_path)
    monkeypatch.setenv("TERNSPIKE_DATA", str(tmp_path))
    assert len(load("mnist").train_x) == 30
    monkeypatch.delenv("TERNSPIKE_DATA")
    with pytest.raises(DataError, match=r"'mnist' needs the folder.*--data DIR"):
        load("mnist")


HEADER = idx(IMAGES["train"])


@pytest.mark.parametrize(("content", "message"), [
    (HEADER[:-1], "truncated: fewer than the 600 bytes"),
    (HEADER + b"x", "has more than the 600 bytes"),
    (HEADER[:10], "truncated in its header"),
    (b"", "truncated in its header"),
    (b"PK\x03\x04" + HEADER[4:], "magic number 504b0304, expected 00000803"),
    (idx(LABELS["train"]), "magic number 00000801, expected 00000803"),
    (HEADER[:4] + b"\xff" * 12, r"announces \d+ bytes, more than"),
])
@pytest.mark.parametrize("zipped", [True, False])
def test_bad_idx_file(tmp_path, content, message, zipped):
    raw = write_idx(tmp_path, zipped=zipped)
    name = "train-images-idx3-ubyte" + (".gz" if zipped else "")
    (raw / name).write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=message) as caught:
        load("mnist", tmp_path)
    assert name in str(caught.value)


def test_damaged_gzip(tmp_path):
    raw = write_idx(tmp_path)
    path = raw / "t10k-images-idx3-ubyte.gz"
    good = path.read_bytes()
    path.write_bytes(good[:len(good) // 2])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: truncated"):
        load("mnist", tmp_path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="t10k-images.*not a valid gzip file"):
        load("mnist", tmp_path)
    path.write_bytes(good[:-8] + b"sums" + good[-4:])
    with pytest.raises(DataError, match="t10k-images.*not a valid gzip file .CRC check failed"):
        load("mnist", tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match=r"MNIST.raw.train-images-idx3-ubyte: no such file"):
        load("mnist", tmp_path)
    raw = write_idx(tmp_path)
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: no such file"):
        load("mnist", tmp_path)
    (raw / "t10k-labels-idx1-ubyte").mkdir()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: .*directory"):
        load("mnist", tmp_path)


def test_labels_beyond_the_classes(tmp_path):
    raw = write_idx(tmp_path)
    labels = LABELS["train"].copy()
    labels[3] = 10
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    with pytest.raises(DataError, match=r"train_y has labels 0..10, expected 0..9"):
        load("mnist", tmp_path)


def test_unknown_name():
    with pytest.raises(DataError, match="Unknown data set 'imagenet'; known: digits, mnist"):
        load("imagenet")


def test_npz(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    data = load(str(path))
    assert data.name == "mine" and data.classes == 10
    np.testing.assert_array_equal(data.train_x, IMAGES["train"])


def test_bad_npz(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(DataError, match="mine.npz: no such file"):
        load(str(path))
    incomplete = arrays()
    del incomplete["test_y"]
    np.savez(path, **incomplete)
    with pytest.raises(DataError, match="mine.npz: array test_y is missing"):
        load(str(path))
    np.savez(path, **arrays(train_y=np.array([{"code": "runs"}] * 30)))
    with pytest.raises(DataError, match="mine.npz: an array can't be read.*pickle"):
        load(str(path))
    np.savez_compressed(path, **arrays())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="mine.npz: not a valid .npz file"):
        load(str(path))


def test_npz_with_absurd_header(tmp_path):
    """A header that claims a terabyte must not be believed."""
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes().replace(b"'shape': (30, 4, 5), }      ",
                                               b"'shape': (1000000, 1000000)}", 1))
    with pytest.raises(DataError, match="mine.npz"):
        load(str(path))


@pytest.mark.parametrize(("changes", "message"), [
    ({"train_x": np.zeros((30, 4, 5))}, r"train_x must hold integers 0..255, not float64"),
    ({"train_x": np.full((30, 4, 5), 256)}, r"train_x has values 256..256, expected 0..255"),
    ({"test_x": np.full((20, 4, 5), -1)}, r"test_x has values -1..-1, expected 0..255"),
    ({"train_x": np.zeros(30, np.uint8)}, r"train_x must have shape \(samples, ...\)"),
    ({"train_x": np.zeros((0, 4, 5), np.uint8)}, r"train_x must have shape.*not be empty"),
    ({"test_x": np.zeros((20, 5, 4), np.uint8)}, r"test_x have shape \(5, 4\), those of train_x"),
    ({"train_y": LABELS["train"][:-1]}, r"train_y must have shape \(30,\)"),
    ({"train_y": LABELS["train"] * 1.0}, r"train_y must hold integer labels, not float64"),
    ({"test_y": LABELS["t10k"] + 1}, r"test_y has labels 1..10, expected 0..9"),
    ({"train_y": np.zeros(30, int), "test_y": np.zeros(20, int)}, r"1 classes; 2 to 65536"),
    ({"train_y": np.arange(30) - 1}, r"train_y has labels -1..28"),
])
def test_invalid_arrays(changes, message):
    with pytest.raises(DataError, match=message):
        Dataset("mine", **arrays(**changes))


def test_own_arrays_are_copied():
    mine = IMAGES["train"].astype(np.int64)
    data = Dataset("mine", **arrays(train_x=mine))
    mine[:] = 0
    np.testing.assert_array_equal(data.train_x, IMAGES["train"])


COLOURS = RANDOM.integers(0, 256, (2, 40, 3, 32, 32), dtype=np.uint8)


def sheets(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two WebP sheets of 4 rows of 5 images each, one after the other, and their ends."""
    files = [b""]
    for sheet in images.reshape(2, 4, 5, 3, 32, 32).transpose(0, 1, 4, 2, 5, 3):
        file = io.BytesIO()
        Image.fromarray(sheet.reshape(128, 160, 3)).save(file, "WEBP", lossless=True)
        files.append(file.getvalue())
    return (np.frombuffer(b"".join(files), np.uint8),
            np.cumsum([len(content) for content in files]))


def write_cifar10(folder: Path, **changes: object) -> None:
    """Write a small CIFAR-10 as an .npz file."""
    arrays: dict = {}
    for part, images in zip(("train", "test"), COLOURS, strict=True):
        content, ends = sheets(images)
        arrays |= {f"{part}_img": content, f"{part}_off": ends, f"{part}_y": np.arange(40) % 10}
    np.savez(folder / "cifar10_webp_lossless.npz", **{**arrays, **changes})


def test_cifar10_sheets(tmp_path):
    write_cifar10(tmp_path)
    data = load("cifar10", tmp_path)
    np.testing.assert_array_equal(data.train_x, COLOURS[0])
    np.testing.assert_array_equal(data.test_x, COLOURS[1])
    np.testing.assert_array_equal(data.test_y, np.arange(40) % 10)
    assert data.shape == (3, 32, 32) and data.inputs() == 3072


def write_batches(folder: Path) -> Path:
    """Write a small CIFAR-10 as its own site has it: a label, then the image, a record each."""
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir()
    records = np.concatenate([np.arange(80, dtype=np.uint8)[:, np.newaxis] % 10,
                              COLOURS.reshape(80, -1)], axis=1)
    for number in range(5):
        (batches / f"data_batch_{number + 1}.bin").write_bytes(
            records[8 * number:8 * number + 8].tobytes())
    (batches / "test_batch.bin").write_bytes(records[40:].tobytes())
    return batches


def test_cifar10_batches(tmp_path):
    batches = write_batches(tmp_path)
    data = load("cifar10", tmp_path)
    np.testing.assert_array_equal(data.train_x, COLOURS[0])
    np.testing.assert_array_equal(data.test_x, COLOURS[1])
    np.testing.assert_array_equal(data.train_y, np.arange(40) % 10)
    (batches / "data_batch_3.bin").write_bytes(b"x" * 3074)
    with pytest.raises(DataError, match="data_batch_3.bin: 3074 bytes are not records of 3073"):
        load("cifar10", tmp_path)
    (batches / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match="data_batch_3.bin: No such file"):
        load("cifar10", tmp_path)


def test_bad_cifar10(tmp_path):
    with pytest.raises(DataError, match="cifar10_webp_lossless.npz: no such file"):
        load("cifar10", tmp_path)
    content, ends = sheets(COLOURS[0])
    write_cifar10(tmp_path, train_img=content[::-1])
    with pytest.raises(DataError, match="lossless.npz: an image sheet can't be read"):
        load("cifar10", tmp_path)
    write_cifar10(tmp_path, train_off=ends[:1])
    with pytest.raises(DataError, match="lossless.npz: no image sheets"):
        load("cifar10", tmp_path)
    odd = io.BytesIO()
    Image.fromarray(np.zeros((32, 33, 3), np.uint8)).save(odd, "WEBP", lossless=True)
    write_cifar10(tmp_path, test_img=np.frombuffer(odd.getvalue(), np.uint8),
                  test_off=np.array([0, len(odd.getvalue())]))
    with pytest.raises(DataError, match="sheet of 32 by 33 pixels does not hold images of 32 by"):
        load("cifar10", tmp_path)


def write_scene(folder: Path, **changes: object) -> None:
    """Write a scene of 9 by 8 pixels of 20 bands, band b of which has the values b and b + 255."""
    scene = np.zeros((9, 8, 20), np.int16) + np.arange(20)
    scene[4, 5] += 255
    truth = np.zeros((9, 8), np.uint8)
    truth[::2, ::2] = 1
    truth[1::2, 1::2] = 12
    np.savez(folder / "salinas_a.npz", **{"x": scene, "gt": truth, **changes})


def test_salinas_a(tmp_path):
    """36 labelled pixels; two means of 8 bands each; 7x7 patches, of which those nearby see it."""
    write_scene(tmp_path)
    data = load("salinas-a", tmp_path)
    assert data.shape == (2, 7, 7) and (len(data.train_x), len(data.test_x)) == (18, 18)
    labels, patches = (np.concatenate(pair) for pair in ((data.train_y, data.test_y),
                                                         (data.train_x, data.test_x)))
    assert np.bincount(labels).tolist() == [20, 16] and data.classes == 6
    assert set(np.unique(patches)) == {0, 255}
    np.testing.assert_array_equal(patches[:, 0], patches[:, 1])
    # Pixel (4, 5) has no label; those in rows 1 to 7 and columns 2 to 7 see it, mirrored or not.
    assert (patches == 255).any((1, 2, 3)).sum() > 12
    np.testing.assert_array_equal(load("salinas-a", tmp_path).train_x, data.train_x)


def test_bad_salinas_a(tmp_path):
    write_scene(tmp_path, gt=np.ones((8, 9), np.uint8))
    with pytest.raises(DataError, match=r"salinas_a.npz: x and gt must have shapes .rows, columns"):
        load("salinas-a", tmp_path)


WORDS = [RANDOM.integers(0, 256, samples, dtype=np.uint8) for samples in range(300, 6000, 700)]


def write_fsdd(folder: Path, **changes: object) -> None:
    """Write nine recordings, with the numbers 0 to 8 and the digits 1 to 9."""
    ends = np.cumsum([0, *map(len, WORDS)], dtype=np.int32)
    np.savez(folder / "fsdd_8khz_mulaw.npz", **{
        "audio": np.concatenate(WORDS), "offsets": ends, "y": np.arange(1, 10, dtype=np.uint8),
        "idx": np.arange(9, dtype=np.uint8), **changes})


def test_fsdd(tmp_path):
    """Recordings with a number below 5 are for testing; each has a map of its own."""
    write_fsdd(tmp_path)
    data = load("fsdd", tmp_path)
    assert (data.shape, data.classes) == ((24, 1, 32), 10)
    assert data.train_y.tolist() == [6, 7, 8, 9] and data.test_y.tolist() == [1, 2, 3, 4, 5]
    for word, levels in zip(WORDS, [*data.test_x, *data.train_x], strict=True):
        np.testing.assert_array_equal(levels, band_levels(expand(word)))


TOTAL = sum(map(len, WORDS))


@pytest.mark.parametrize(("changes", "message"), [
    ({"audio": np.zeros(TOTAL, np.int16)}, "audio must hold mu-law codes of uint8, not int16"),
    ({"audio": np.zeros((TOTAL, 2), np.uint8)}, r"audio must be a vector of integers, not uint8 "),
    ({"audio": np.zeros(TOTAL + 1, np.uint8)}, r"offsets must rise from 0 to the \d+ elements of"),
    ({"offsets": np.arange(1, 11)}, "offsets must rise from 0"),
    ({"offsets": np.array([0, TOTAL, 0, *[TOTAL] * 7], np.uint32)}, "offsets must rise from 0"),
    ({"offsets": np.array([0, *range(8), TOTAL])}, "offsets must rise from 0"),
    ({"offsets": np.array([0])}, "offsets must rise from 0"),
    ({"offsets": np.linspace(0, TOTAL, 10)}, "offsets must be a vector of integers, not float64"),
    ({"offsets": np.array([0, TOTAL])}, "y has 9 elements for 1 recordings"),
    ({"idx": np.arange(8)}, "idx has 8 elements for 9 recordings"),
    ({"y": np.arange(9) / 2}, "y must be a vector of integers, not float64"),
])
def test_bad_fsdd(tmp_path, changes, message):
    write_fsdd(tmp_path, **changes)
    with pytest.raises(DataError, match=f"fsdd_8khz_mulaw.npz: {message}"):
        load("fsdd", tmp_path)


def test_fsdd_without_a_part(tmp_path):
    write_fsdd(tmp_path, y=np.arange(2, 11))
    with pytest.raises(DataError, match=r"fsdd: train_y has labels 7..10, expected 0..9"):
        load("fsdd", tmp_path)
    write_fsdd(tmp_path, idx=np.arange(5, 14))
    with pytest.raises(DataError, match=r"fsdd: test_x must have shape.*not be empty"):
        load("fsdd", tmp_path)


#: Of three recordings: polarity, row, column and time in ms.
EVENTS = np.array([[0, 0, 0, 0], [1, 2, 3, 104], [1, 2, 3, 104], [0, 33, 1, 105],
                   [1, 33, 33, 314], [1, 5, 5, 315],
                   [0, 7, 8, 209],
                   [1, 0, 1, 210], [1, 0, 1, 20]])


def write_nmnist(folder: Path, **changes: object) -> None:
    """Write three recordings, of which the second is for testing."""
    addresses = np.ravel_multi_index(tuple(EVENTS[:, :3].T), (2, 34, 34))
    np.savez(folder / "nmnist_1000_100.npz", **{
        "addr": addresses.astype(np.uint16), "t_ms": EVENTS[:, 3].astype(np.uint16),
        "offsets": np.array([0, 6, 7, 9], np.int32), "y": np.array([4, 0, 9], np.uint8),
        "train": np.array([True, False, True]), **changes})


def test_nmnist(tmp_path):
    """Steps begin at 0, 105 and 210 ms; two events at one place are one, what is later is none."""
    write_nmnist(tmp_path)
    data = load("nmnist", tmp_path)
    assert (data.shape, data.classes) == ((3, 2, 34, 34), 10)
    assert data.train_y.tolist() == [4, 9] and data.test_y.tolist() == [0]
    assert np.argwhere(data.train_x).tolist() == [
        [0, 0, 0, 0, 0], [0, 0, 1, 2, 3], [0, 1, 0, 33, 1], [0, 2, 1, 33, 33],
        [1, 0, 1, 0, 1], [1, 2, 1, 0, 1]]
    assert np.argwhere(data.test_x).tolist() == [[0, 1, 0, 7, 8]] and data.test_x.max() == 1
    assert encode(data.train_x, Coding.EVENTS, 3).shape == (2, 3, 2312)
    write_nmnist(tmp_path, offsets=np.array([0, 6, 7, 9], np.uint64),
                 t_ms=EVENTS[:, 3].astype(np.uint64))
    np.testing.assert_array_equal(load("nmnist", tmp_path).train_x, data.train_x)


@pytest.mark.parametrize(("changes", "message"), [
    ({"addr": np.full(9, 2312)}, r"addr must be 0..2311 and t_ms from 0, not 2312..2312 and from"),
    ({"addr": np.full(9, -1)}, r"addr must be 0..2311 and t_ms from 0, not -1..-1"),
    ({"t_ms": np.full(9, -1)}, r"addr must be 0..2311 and t_ms from 0, not 0..2311 and from -1"),
    ({"t_ms": np.arange(8)}, "offsets must rise from 0 to the 8 elements of t_ms"),
    ({"addr": np.zeros(9, bool)}, "addr must be a vector of integers, not bool"),
    ({"train": np.ones((3, 1), bool)}, r"train must be a vector of integers, not bool \(3, 1\)"),
    ({"train": np.ones(4, bool)}, "train has 4 elements for 3 recordings"),
])
def test_bad_nmnist(tmp_path, changes, message):
    write_nmnist(tmp_path, **changes)
    with pytest.raises(DataError, match=f"nmnist_1000_100.npz: {message}"):
        load("nmnist", tmp_path)


@pytest.mark.parametrize(("name", "file"), [("fsdd", "fsdd_8khz_mulaw"),
                                            ("nmnist", "nmnist_1000_100")])
def test_missing_recordings(tmp_path, monkeypatch, name, file):
    monkeypatch.delenv("TERNSPIKE_DATA", raising=False)
    with pytest.raises(DataError, match=f"'{name}' needs the folder that holds {file}.npz"):
        load(name)
    with pytest.raises(DataError, match=f"{file}.npz: no such file"):
        load(name, tmp_path)
    np.savez(tmp_path / f"{file}.npz", y=np.arange(3))
    with pytest.raises(DataError, match=f"{file}.npz: array .*offsets.* is missing"):
        load(name, tmp_path)


def test_digits():
    data = load("digits")
    assert data.train_x.shape == (1437, 8, 8) and data.test_x.shape == (360, 8, 8)
    assert data.train_x.max() == 255 and data.classes == 10
    counts = np.bincount(data.test_y, minlength=10)
    assert counts.min() >= 35 and counts.max() <= 37
    train = {image.tobytes() for image in data.train_x}
    assert not any(image.tobytes() in train for image in data.test_x)


def test_static_coding_passes_values():
    encoded = encode(IMAGES["train"], Coding.STATIC, 4)
    np.testing.assert_array_equal(encoded, IMAGES["train"].reshape(30, 20))


def test_rate_coding():
    values = np.array([[0, 255, 51]], np.uint8)
    spikes = encode(values, Coding.RATE, 20_000, seed=1)
    assert spikes.shape == (1, 20_000, 3) and set(np.unique(spikes)) == {0, 1}
    np.testing.assert_allclose(spikes.mean((0, 1)), [0, 1, 0.2], atol=0.01)
    np.testing.assert_array_equal(spikes, encode(values, Coding.RATE, 20_000, seed=1))
    assert (spikes != encode(values, Coding.RATE, 20_000, seed=2)).any()


def test_event_coding():
    events = RANDOM.integers(0, 2, (6, 3, 2, 4)).astype(np.uint8)
    np.testing.assert_array_equal(encode(events, Coding.EVENTS, 3), events.reshape(6, 3, 8))
    with pytest.raises(DataError, match=r"Events of 4 steps must have shape"):
        encode(events, Coding.EVENTS, 4)
    with pytest.raises(DataError, match="Events must be 0 or 1, not up to 2"):
        encode(events * 2, Coding.EVENTS, 3)
    labels = np.arange(6) % 2
    data = Dataset("events", events, labels, events, labels)
    assert data.inputs(Coding.EVENTS) == 8


@pytest.mark.data
@pytest.mark.parametrize(("name", "train", "test", "shape"), [
    ("mnist", 60_000, 10_000, (28, 28)), ("fashion-mnist", 60_000, 10_000, (28, 28)),
    ("cifar10", 50_000, 10_000, (3, 32, 32)), ("salinas-a", 2674, 2674, (28, 7, 7)),
    ("fsdd", 2700, 300, (24, 1, 32)), ("nmnist", 1000, 100, (3, 2, 34, 34))])
def test_real_sets(data_folder, name, train, test, shape):
    data = load(name, data_folder)
    assert (len(data.train_x), len(data.test_x), data.shape) == (train, test, shape)
    assert np.bincount(data.train_y).min() > train / 20


@pytest.mark.data
def test_real_digits_of_events_stand_upright(data_folder):
    """Ones are taller than wide, and sevens have their bar above."""
    data = load("nmnist", data_folder)
    maps = data.train_x.sum((1, 2), dtype=np.int64)
    rows, columns = maps.sum(2), maps.sum(1)
    pixels = np.arange(34)

    def spread(counts: np.ndarray) -> np.ndarray:
        means = counts @ pixels / counts.sum(1)
        squares = counts * (pixels - means[:, np.newaxis]) ** 2
        return np.sqrt(squares.sum(1) / counts.sum(1))

    ones, sevens = data.train_y == 1, data.train_y == 7
    assert np.mean(spread(rows[ones]) > spread(columns[ones])) > 0.9
    assert np.median(rows[sevens].argmax(1)) < 17


@pytest.mark.data
def test_real_words_are_bright_where_they_are_voiced(data_folder):
    """Vowels lie below 1 kHz, where most of the energy is; each recording has its loudest band."""
    data = load("fsdd", data_folder)
    means = data.train_x.mean((0, 2, 3))
    assert means[1:10].min() > means[10:].max()
    assert (data.train_x.max((1, 2, 3)) == 255).all() and data.train_x.min((1, 2, 3)).max() < 32
    assert np.bincount(data.test_y).tolist() == [30] * 10
