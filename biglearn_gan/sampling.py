"""What ``biglearn-gan sample`` does: find the sources, draw, and write grid, images and arrays."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from biglearn_gan.arguments import WITHOUT_LABELS, LabelError
from biglearn_gan.config import DataConfig, DataSetName, HoleColour
from biglearn_gan.data import SPLITS, load_dataset
from biglearn_gan.figures import completion_grid, image_grid
from biglearn_gan.files import refuse_foreign, refuse_input_among, replacing
from biglearn_gan.holes import HOLE_NAMES, HoleError, UnknownHole, named_hole, read_hole
from biglearn_gan.images import (
    MASK_SUFFIX,
    DataError,
    files_at,
    image_files,
    load_images,
    to_uint8,
    to_unit_range,
)
from biglearn_gan.model import BigLearnGAN
from biglearn_gan.patches import tokens_touched
from biglearn_gan.progressive import OrderName

GRID_ROWS = 32
"""Rows shown in ``grid.png``; the other files hold all."""

FIRST_ROWS = 16
"""Rows where nobody says how many, but for a user's own files, which are all read."""


@dataclass(frozen=True)
class Sources:
    """Images to complete, what a user should know about them, and what they are called."""

    images: UInt8[Tensor, "N C H W"]
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """Everything that was drawn; K variations for each of N rows.

    For joint samples the sources are black and the holes are everything. Sample (i, k) was drawn
    from (seed, i, ``numbers[i, k]``); ``scores`` are the critic's logits, where it chose;
    ``labels`` what a model with labels drew it for, ``data`` names the data set of the model.
    """

    images: UInt8[Tensor, "N K C H W"]
    sources: UInt8[Tensor, "N C H W"]
    hole: Bool[Tensor, "N H W"]
    seed: int
    numbers: Int64[Tensor, "N K"]
    scores: Float[Tensor, "N K"] | None = None
    labels: Int64[Tensor, "N K"] | None = None
    data: str | None = None


def load_sources(data: DataConfig, images: str | None, num: int | None) -> Sources:
    """The first ``num`` source images.

    Args:
        data: the model's data, for its size and channels.
        images: an image file, a folder of image files, ``dataset:split`` (such as
            ``mnist:test``), or None for the test images of the model's own data set.
        num: how many at most; where it is None, all files, or 16 images of a data set.

    Raises:
        DataError: they cannot be had or read.
    """
    if images is None or not Path(images).exists():
        name, _, split = (images or f"{data.name}:test").partition(":")
        if name not in get_args(DataSetName):
            raise DataError(
                f"{images} does not exist; name an image file, a folder of image files, or a data "
                f"set and split such as {data.name}:test"
            )
        if split not in SPLITS:
            raise DataError(f"{images}: the splits of a data set are {', '.join(SPLITS)}")
        dataset = load_dataset(pixels_alone(data.model_copy(update={"name": name})), split)
        count = min(num or FIRST_ROWS, len(dataset))
        notes = _fewer(num, count)
        if num is None and count < len(dataset):
            notes = (f"the first {count} of the {len(dataset):,} images: --num asks for more",)
        if name != data.name:
            notes += (told_of_size(f"images of {name} are", data.image_size),)
        names = tuple(map(str, range(count)))
        return Sources(dataset.images_uint8(torch.arange(count)), notes, names)
    pixels, resized = load_images(Path(images), data.image_size, data.channels, num)
    notes = _fewer(num, len(pixels))
    if resized:
        what = f"{resized} of {len(pixels)} images had another size and were"
        notes += (told_of_size(what, data.image_size),)
    return Sources(pixels, notes, tuple(file.name for file in files_at(Path(images))[:num]))


def pixels_alone(data: DataConfig) -> DataConfig:
    """The same data as sources: neither labels nor what was missing in training matter."""
    return data.model_copy(update={"labels": False, "classes": None, "missing": None})


def is_path(mask: str) -> bool:
    """Whether a mask is a file or a folder, there or not, and no pattern's name."""
    if mask in HOLE_NAMES or mask.startswith(("random:", "outside:")):
        return False
    return Path(mask).exists() or bool(Path(mask).suffix)


def check_hole(mask: str, model: BigLearnGAN, hole_colour: HoleColour | None = None) -> None:
    """Whatever can be said of a mask before there are images; see :func:`load_hole`.

    Raises:
        HoleError: it is no usable one, or a folder without image files.
    """
    if not is_path(mask) or not Path(mask).is_dir():
        load_hole(mask, model, 1, 0, hole_colour)
    elif not _masks_in(Path(mask)):
        raise HoleError(f"the folder of masks {mask} holds no image files")


def load_hole(
    mask: str,
    model: BigLearnGAN,
    count: int,
    seed: int,
    hole_colour: HoleColour | None = None,
    names: Sequence[str] = (),
) -> Bool[Tensor, "N H W"]:
    """Holes for ``count`` rows (True = generate).

    Args:
        mask: a pattern's name, an image file, or a folder with one for each row.
        model: says the size.
        count: N.
        seed: of random patterns.
        hole_colour: see :func:`biglearn_gan.holes.read_hole`.
        names: of the rows, whose masks a folder holds under the same names, whatever the endings
            (``cat.jpg``: ``cat.png`` or ``cat.mask.png``).

    Raises:
        HoleError: neither a name nor a usable file, or the folder lacks a row's mask.
    """
    image_size, patch_size = model.config.data.image_size, model.config.model.patch_size
    if is_path(mask):
        if not Path(mask).exists():
            raise HoleError(f"the mask {mask} does not exist")
        if Path(mask).is_dir():
            files = _masks_of(names, Path(mask), count)
            return torch.stack([read_hole(file, image_size, hole_colour) for file in files])
        return read_hole(Path(mask), image_size, hole_colour).repeat(count, 1, 1)
    try:
        return named_hole(mask, image_size, patch_size, count, seed)
    except UnknownHole as error:
        raise HoleError(f"{error}, nor an image file or a folder of them") from None


def _masks_of(names: Sequence[str], folder: Path, count: int) -> list[Path]:
    """The one mask in the folder of each of ``count`` rows."""
    if len(names) != count:
        raise HoleError(f"the folder of masks {folder} is for images that have names")
    masks = _masks_in(folder)
    for stem in (Path(name).stem for name in names):
        if len(masks.get(stem, ())) != 1:
            raise HoleError(
                f"the folder of masks {folder} must hold one image file named {stem}, whatever its "
                f"ending, not {len(masks.get(stem, ()))}"
            )
    return [masks[Path(name).stem][0] for name in names]


def _masks_in(folder: Path) -> dict[str, list[Path]]:
    """The image files of a folder by their names without the ending."""
    masks: dict[str, list[Path]] = {}
    for file in [*image_files(folder), *sorted(folder.glob(f"*{MASK_SUFFIX}"))]:
        masks.setdefault(file.name.removesuffix(MASK_SUFFIX).removesuffix(file.suffix), []).append(
            file
        )
    return masks


def told_of_hole(hole: Bool[Tensor, "N H W"], model: BigLearnGAN, fate: str) -> str:
    """How large the hole is, and the patches that it touches, if their ``fate`` is another."""
    patch_size = model.config.model.patch_size
    asked = float(hole.float().mean())
    touched = float(tokens_touched(hole, patch_size).float().mean())
    told = f"the hole is {asked:.1%} of the image"
    if touched == asked or model.config.reads_kept_pixels:
        return told
    patches = f"patches of {patch_size} x {patch_size} pixels that it touches"
    return f"{told}; the {patches}, {touched:.1%} of the image, are {fate}"


def told_of_size(what: str, image_size: tuple[int, int]) -> str:
    """That images of another size were fitted to the model's."""
    return f"{what} resized and centre-cropped to {image_size[0]} x {image_size[1]}"


def parse_labels(text: str, model: BigLearnGAN, count: int) -> Int64[Tensor, " N"]:
    """The class of each of ``count`` rows: one for all, or ``all``, each class in turn.

    Raises:
        LabelError: the model has no labels, or not that one.
    """
    classes = model.config.data.num_classes
    if classes is None:
        raise LabelError(WITHOUT_LABELS)
    if text == "all":
        return torch.arange(count) % classes
    if not (text.isascii() and text.isdecimal()) or int(text) >= classes:
        raise LabelError(f"--label must be 0 to {classes - 1}, or all, not {text!r}")
    return torch.full((count,), int(text))


def draw(
    model: BigLearnGAN,
    sources: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    *,
    labels: Int64[Tensor, " N"] | None = None,
    variations: int,
    seed: int,
    batch_size: int,
    steps: int = 1,
    order: OrderName = "random",
    best_of: int | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Samples:
    """Complete all rows, ``batch_size`` at a time.

    Args:
        model: draws, and ranks.
        sources: what is completed.
        hole: True = generated.
        labels: the class of each row, for a model with labels.
        variations: K, of each row.
        seed: see :meth:`biglearn_gan.model.BigLearnGAN.complete`, as ``steps`` and ``order``.
        batch_size: rows in memory at once, which changes no sample.
        best_of: candidates for each variation, of which the critic's favourite is kept and scored;
            None draws one and asks no critic.
        on_rows: hears how many rows were done.
    """
    parts = []
    for first in range(0, len(sources), batch_size):
        rows = slice(first, first + batch_size)
        parts.append(
            complete_best(
                model,
                to_unit_range(sources[rows]),
                hole[rows],
                None if labels is None else labels[rows],
                variations=variations,
                best_of=best_of,
                seed=seed,
                first_image=first,
                steps=steps,
                order=order,
            )
        )
        on_rows(len(parts[-1].images))
    return Samples(
        torch.cat([to_uint8(part.images) for part in parts]),
        sources,
        hole,
        seed,
        torch.cat([part.numbers for part in parts]),
        _joined([part.scores for part in parts]),
        _joined([part.labels for part in parts]),
        model.config.data.name,
    )


@dataclass(frozen=True)
class Best:
    """Completions that a critic liked best; see :class:`Samples` for the rest."""

    images: Float[Tensor, "N K C H W"]
    numbers: Int64[Tensor, "N K"]
    scores: Float[Tensor, "N K"] | None
    labels: Int64[Tensor, "N K"] | None


def complete_best(
    model: BigLearnGAN,
    images: Float[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
    labels: Int64[Tensor, " N"] | None = None,
    *,
    absent: Bool[Tensor, "N H W"] | None = None,
    variations: int,
    best_of: int | None,
    seed: int,
    first_image: int = 0,
    steps: int = 1,
    order: OrderName = "random",
) -> Best:
    """Complete each image; of ``best_of`` candidates for each variation, keep one, with its score.

    Where ``best_of`` is None, there is one candidate and no score.
    Where a model with labels is given none, each variation draws one for all its candidates, since
    logits of different sources, of which the label is a part, do not compare.
    What is ``absent`` is neither given nor generated nor judged.
    """
    candidates = 1 if best_of is None else best_of
    count = variations * candidates
    known = None
    if labels is not None:
        known = labels[:, None].repeat(1, count)
    elif model.config.data.labels:
        known = model.draw_labels(
            images, hole, absent=absent, variations=variations, seed=seed, first_image=first_image
        ).repeat_interleave(candidates, dim=1)
    drawn = model.complete(
        images,
        hole,
        absent=absent,
        labels=known,
        variations=count,
        seed=seed,
        first_image=first_image,
        steps=steps,
        order=order,
    )
    if best_of is None:
        return Best(drawn, torch.arange(count).repeat(len(drawn), 1), None, known)
    logits = rank_candidates(model, drawn, hole, known, absent).unflatten(1, (variations, best_of))
    scores, choice = logits.max(dim=2)
    numbers = best_of * torch.arange(variations) + choice
    chosen = drawn[torch.arange(len(drawn))[:, None], numbers]
    return Best(chosen, numbers, scores, None if known is None else known.gather(1, numbers))


def rank_candidates(
    model: BigLearnGAN,
    images: Float[Tensor, "N K C H W"],
    hole: Bool[Tensor, "N H W"],
    labels: Int64[Tensor, "N K"] | None = None,
    absent: Bool[Tensor, "N H W"] | None = None,
) -> Float[Tensor, "N K"]:
    """What :meth:`biglearn_gan.model.BigLearnGAN.rank` says of each row's candidates."""
    rows, count = images.shape[:2]
    logits = model.rank(
        images.flatten(0, 1),
        hole.repeat_interleave(count, dim=0),
        absent=None if absent is None else absent.repeat_interleave(count, dim=0),
        labels=None if labels is None else labels.flatten(),
    )
    return logits.view(rows, count)


def sample_grid(samples: Samples) -> Image.Image:
    """Input, masked input and variations per row; joint samples alone, in a square."""
    images, rows = samples.images, slice(GRID_ROWS)
    if not samples.hole.all():
        return completion_grid(samples.sources[rows], samples.hole[rows], images[rows])
    variations = images.shape[1]
    if variations > 1:
        return image_grid(images[rows].flatten(0, 1), variations)
    shown = images[: GRID_ROWS**2, 0]
    return image_grid(shown, math.ceil(math.sqrt(len(shown))))


def check_output(output: Path, images: str | None = None) -> None:
    """Make sure that :func:`write_samples` would replace nothing but what it wrote there.

    Args:
        output: the folder, there or not.
        images: what is to be completed, which must not be what is written.

    Raises:
        OutputError: it would.
    """
    if images is not None and Path(images).exists():
        refuse_input_among((output, output / "samples"), Path(images))
    numbered = sorted((output / "samples").glob("*.png"))
    numbered = [file for file in numbered if re.fullmatch(r"\d{5,}_\d{2,}\.png", file.name)]
    ours = _written_before(output)
    files = (output / "samples.npz", output / "grid.png", *numbered)
    refuse_foreign((file for file in files if file not in ours), output, "`sample`")


def _written_before(output: Path) -> list[Path]:
    """The files of an earlier call, as the shape of its seeds in ``samples.npz`` tells them."""
    path = output / "samples.npz"
    try:
        with np.load(path) as arrays:
            rows, variations, _ = arrays["seeds"].shape
    except Exception:  # a damaged archive can raise anything
        return []
    images = [
        output / "samples" / image_name(row, variation)
        for row in range(rows)
        for variation in range(variations)
    ]
    return [path, output / "grid.png", *images]


def image_name(row: int, variation: int) -> str:
    """What a sample's file is called."""
    return f"{row:05d}_{variation:02d}.png"


def write_samples(samples: Samples, output: Path, names: Sequence[str] = ()) -> None:
    """Write ``grid.png``, ``samples/ROW_VARIATION.png`` and ``samples.npz`` into a folder.

    What another call has written there is replaced. ``samples.npz`` has ``scores`` too where
    candidates were ranked, ``labels`` where the model has some, ``names`` of sources, and ``data``,
    the name of the model's data set.

    Args:
        samples: to write.
        output: the folder.
        names: of the rows' sources, none for images from nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    (output / "samples").mkdir(parents=True, exist_ok=True)
    images = _channels_last(samples.images)  # (N, K, H, W, C)
    numbers = samples.numbers.numpy()
    arrays = {
        "images": images,
        "sources": _channels_last(samples.sources),
        "masks": samples.hole.numpy(),
        "seeds": np.stack(
            [np.full_like(numbers, samples.seed), np.indices(numbers.shape)[0], numbers], axis=-1
        ),
    }
    if names:
        arrays["names"] = np.array(names)
    if samples.scores is not None:
        arrays["scores"] = samples.scores.numpy()
    if samples.labels is not None:
        arrays["labels"] = samples.labels.numpy()
    if samples.data is not None:
        arrays["data"] = np.array(samples.data)
    before = _written_before(output)
    with replacing(output / "samples.npz") as path:
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    for old in before:
        if old.parent.name == "samples":
            old.unlink(missing_ok=True)
    for row, variations in enumerate(images):
        for variation, image in enumerate(variations):
            with replacing(output / "samples" / image_name(row, variation)) as path:
                Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    with replacing(output / "grid.png") as path:
        sample_grid(samples).save(path)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


def _channels_last(images: Tensor) -> np.ndarray:
    return images.movedim(-3, -1).contiguous().numpy()


def _fewer(wanted: int | None, there: int) -> tuple[str, ...]:
    if wanted is None or wanted <= there:
        return ()
    return (f"only {there} images are there of the {wanted} asked for",)
