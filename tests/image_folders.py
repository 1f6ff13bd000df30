"""Data sets of random image files, for the tests of `biglearn_gan.data`."""

import zipfile

import numpy as np
import torch
from PIL import Image

from biglearn_gan.config import DataConfig

HEIGHT, WIDTH = 11, 13


def config(name="folder", root="unused", image_size=(HEIGHT, WIDTH), channels=3, **others):
    others = {"download": False, "workers": 0} | others
    return DataConfig(name=name, root=str(root), image_size=image_size, channels=channels, **others)


def digits(**others):
    return config("digits", image_size=(8, 8), channels=1, **others)


def all_images(dataset):
    return dataset.images_uint8(torch.arange(len(dataset)))


def as_set(dataset):
    return {image.numpy().tobytes() for image in all_images(dataset)}


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def save_many(folder, count, size=(HEIGHT, WIDTH), seed=0):
    """``count`` random RGB images, named in order; returns their pixels (count, H, W, 3)."""
    pixels = random_pixels(count, *size, 3, seed=seed)
    for number, image in enumerate(pixels):
        save(folder / f"{number:03d}.png", image)
    return pixels


def split_folder(root, train=7, test=2, **others):
    """Plain train/ and test/ folders, so that the order of files is the order of images."""
    pixels = save_many(root / "train", train, **others)
    save_many(root / "test", test, seed=1, **others)
    return pixels


def channels_first(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def zip_folder(folder, archive):
    """Zip a folder as a desktop does: its own name is part of all paths."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive
