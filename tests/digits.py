"""Small synthetic digits, and files of them in every supported format."""

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_paddle.data.formats.idx import idx_bytes
from mnist_paddle.data.sources import FILES


def make_digits(count: int, seed: int = 0) -> tuple:
    """Learnable images, each one of ten block patterns plus noise: uint8 [n, 28, 28] and labels uint8 [n]."""
    prototypes = np.random.default_rng(7).random((10, 7, 7)) > 0.6
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % 10).astype(np.uint8)
    images = np.kron(prototypes, np.ones((4, 4)))[labels] * generator.integers(150, 250, (count, 1, 1))
    noisy = images + generator.integers(0, 50, (count, 28, 28))
    noisy[:, 0] = noisy[:, -1] = 0  # a dark border, as in MNIST
    noisy[:, :, 0] = noisy[:, :, -1] = 0
    return noisy.astype(np.uint8), labels


def write_idx(folder, train, test, packed=False) -> Path:
    """The four files of the original distribution."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    for (part, kind), name in FILES.items():
        data = idx_bytes((train if part == "train" else test)[kind == "labels"])
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data, 1) if packed else data)
    return folder


def scaled(images, scale: str) -> np.ndarray:
    """Pixels 0..255 in one of the common scales, float64 [n, 784]."""
    flat = images.reshape(len(images), 784).astype(np.float64)
    return {"255": flat, "0..1": flat / 255, "/256": flat / 256, "-1..1": flat / 127.5 - 1}[scale]


def write_json(path, parts, scale="0..1") -> Path:
    """The course's mnist.json.gz."""
    content = [[np.round(scaled(images, scale), 7).tolist(), labels.tolist()] for images, labels in parts]
    Path(path).write_bytes(gzip.compress(json.dumps(content).encode(), 1))
    return Path(path)


def write_pickle(path, parts, protocol=2) -> Path:
    """deeplearning.net's mnist.pkl.gz."""
    content = tuple((scaled(images, "/256").astype(np.float32), labels.astype(np.int64)) for images, labels in parts)
    Path(path).write_bytes(gzip.compress(pickle.dumps(content, protocol), 1))
    return Path(path)


def write_npz(path, train, test) -> Path:
    """Keras's mnist.npz."""
    np.savez_compressed(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    return Path(path)


def write_csv(path, digits, header=True) -> Path:
    """Kaggle's train.csv."""
    images, labels = digits
    lines = ["label," + ",".join(f"pixel{i}" for i in range(784))] if header else []
    lines += [",".join(map(str, [label, *image.ravel().tolist()])) for image, label in zip(images, labels)]
    Path(path).write_text("\n".join(lines) + "\n")
    return Path(path)


def write_pictures(folder, digits) -> Path:
    """PNG files in one subfolder per class, in the order of the images."""
    for number, (image, label) in enumerate(zip(*digits)):
        place = Path(folder, str(label))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:05}.png")
    return Path(folder)
