"""Measure whether a model finds unusual images, and where they are unusual.

    python experiments/studies/anomalies.py --checkpoint digits --output anomalies.json

Test images are compared with changed copies: blurred, with noise, and with a square of another
test image (of another class, if there are classes) pasted at its own place; and with the images of
``--other``. The area under the ROC curve says how often a changed image has a higher score than an
unchanged one. Where the square was pasted is measured by intersection over union: with it, and with
the square of its size that has the highest mean in a map.

Scores and maps are those of `critic_quantile` and `surprise_map`, and the two factors of the
latter.
Baselines are the squared error of the mean completion, which is what a masked autoencoder gives,
and the squared difference from the nearest training image. The true change is a ceiling.

`--picture` shows the first test images, every other one with a square, beside their maps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Float, Int64
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import (
    Checkpoint,
    DataRoot,
    input_data_config,
    with_data_root,
    without_missing,
)
from biglearn_gan.cli.runner import run
from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.files import make_folder, write_json
from biglearn_gan.inference.inputs import InputRequest, load_inputs
from biglearn_gan.inference.scoring import write_map
from biglearn_gan.inference.surprise import (
    OWN_IMAGES,
    VARIATIONS,
    JudgedParts,
    joint_logits,
    judge_parts,
    mean_over_windows,
    own_logits,
    quantile_among,
    sliding_windows,
)
from biglearn_gan.pixel_values import to_signed_float, to_uint8
from biglearn_gan.progress import unit_bars
from biglearn_gan.rng import Stream, make_rng

BLUR_SHARE = 1 / 28
"""Standard deviation of the blur as a share of the image's shorter side: one pixel of MNIST."""

NOISE = 0.3
"""Standard deviation of the noise, in units of [-1, 1]."""

MIN_CHANGE = 0.3
"""A pasted square changes its pixels by at least this on average, in units of [-1, 1]."""

PASTE_TRIES = 100
"""Places and other images that are tried for each square; the best of them is taken."""

TRAIN_IMAGES = 10_000
"""Training images among which the nearest one is looked for."""

PICTURE_IMAGES = 16
"""Images that ``--picture`` shows at most."""

BATCH_ROWS = 100
UNCHANGED, PASTED = "test images", "pasted square"

Corner = tuple[int, int]
"""Top and left of a square."""


def main(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(dir_okay=False, help="JSON file.")],
    other: Annotated[
        str | None,
        typer.Option(help="Other images: a file, a folder, a ZIP file, or DATASET:SPLIT."),
    ] = None,
    num: Annotated[int, typer.Option(min=2, help="Images of each kind.")] = 200,
    variations: Annotated[
        int, typer.Option(min=2, help="Completions of each window.")
    ] = VARIATIONS,
    data_root: DataRoot = None,
    picture: Annotated[
        Path | None, typer.Option(dir_okay=False, help="PNG file for some images and their maps.")
    ] = None,
) -> None:
    """Print the measures as Markdown tables and write them as JSON."""
    torch.set_num_threads(1)
    start = time.process_time()
    model = BigLearnGAN.from_pretrained(checkpoint)
    data = with_data_root(data_root, without_missing(model.config.data))
    test, train = load_test_images(data), load_dataset(data, "train")
    batch = test.batch(torch.arange(min(num, len(test))))
    side = window_side(model)
    pasted, corners = paste_squares(batch.images, batch.labels, side)
    kinds = {UNCHANGED: batch.images, PASTED: pasted}
    kinds |= {"blur": blurred(batch.images), "noise": noisy(batch.images)}
    if other is not None:
        request = InputRequest(other, num=num)
        inputs = load_inputs(model, input_data_config(model, data_root), request)
        kinds[other] = to_signed_float(inputs.images)
    make_folder(output.parent)
    references = train.batch(torch.arange(min(TRAIN_IMAGES, len(train)))).images
    own = own_logits(model, OWN_IMAGES, seed=0)
    with unit_bars() as on_start:
        on_images = on_start("image", sum(map(len, kinds.values())))
        found = {
            kind: judge(model, images, own, references, variations, on_images)
            for kind, images in kinds.items()
        }
    maps = {**found[PASTED].maps, "true change": (pasted - batch.images).square().mean(dim=1)}
    auc = {kind: areas(found[kind], found[UNCHANGED]) for kind in kinds if kind != UNCHANGED}
    overlap = {name: overlaps(values, corners, side) for name, values in maps.items()}
    seconds = round(time.process_time() - start)
    settings = {"images": len(batch.images), "variations": variations}
    results = {**settings, "cpu_seconds": seconds, "auc": auc, "overlap": overlap}
    write_json(output, results)
    typer.echo(f"{auc_table(auc)}\n\n{overlap_table(overlap)}")
    if picture is not None:
        shown = every_other(pasted, batch.images)
        shown_maps = every_other(found[PASTED].maps["surprise"], found[UNCHANGED].maps["surprise"])
        make_folder(picture.parent)
        write_map(picture, to_uint8(shown), shown_maps)


def every_other(
    one: Float[Tensor, "N ..."], other: Float[Tensor, "N ..."]
) -> Float[Tensor, "M ..."]:
    """The first ``PICTURE_IMAGES`` rows, in turn from one tensor and from the other."""
    count = min(PICTURE_IMAGES, len(one))
    return torch.stack([(one, other)[row % 2][row] for row in range(count)])


def load_test_images(data: DataConfig) -> ImageDataset:
    """The test images; only those with a known label, if there are any."""
    test = load_dataset(data, "test")
    return test.subset(test.labeled) if len(test.labeled) else test


@dataclass(frozen=True)
class Judgment:
    """Maps of N images, and scores of whole images; higher values are more unusual."""

    maps: Mapping[str, Float[Tensor, "N H W"]]
    scores: Mapping[str, Float[Tensor, " N"]]


def judge(
    model: BigLearnGAN,
    images: Float[Tensor, "N C H W"],
    own: Float[Tensor, " O"],
    references: Float[Tensor, "M C H W"],
    variations: int,
    on_images: Callable[[int], None] = lambda count: None,
) -> Judgment:
    """Judge images by the model, and by their differences from the nearest reference.

    Args:
        model: completes windows, and judges.
        images: in [-1, 1].
        own: the critic's logits of the model's own images.
        references: training images.
        variations: completions of each window.
        on_images: called after each image with 1.
    """
    logits = joint_logits(model, images)
    rows = []
    windows = sliding_windows(model.config)
    judged = judge_parts(model, images, windows, variations=variations)
    for image, parts in zip(images, judged, strict=True):
        rows.append(maps_of_parts(image, parts))
        on_images(1)
    maps = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    nearest = references[nearest_references(images, references)]
    maps["nearest training image"] = (images - nearest).square().mean(dim=1)
    scores = {"critic score": -logits, "critic quantile": 1 - quantile_among(logits, own)}
    for name, values in maps.items():
        scores[f"{name}, mean"] = values.mean(dim=(1, 2))
        scores[f"{name}, maximum"] = values.amax(dim=(1, 2))
    return Judgment(maps, scores)


def maps_of_parts(
    image: Float[Tensor, "C H W"], parts: JudgedParts
) -> dict[str, Float[Tensor, "H W"]]:
    """The surprise of an image, its two factors, and the squared error of the mean completion."""
    errors = (image - parts.completions.mean(dim=1)).square().mean(dim=1)  # (V, H, W), 0 outside
    return {
        "surprise": parts.surprise_map(),
        "distance": mean_over_windows(parts.distance, parts.holes),
        "critic loss": mean_over_windows(parts.critic_loss, parts.holes),
        "reconstruction error": errors.sum(dim=0) / parts.holes.sum(dim=0),
    }


def window_side(model: BigLearnGAN) -> int:
    """The side of the model's windows in pixels."""
    return int(sliding_windows(model.config)[0].any(dim=0).sum())


def nearest_references(
    images: Float[Tensor, "N C H W"], references: Float[Tensor, "M C H W"]
) -> Int64[Tensor, " N"]:
    """For each image, the number of the nearest reference."""
    rows = [
        torch.cdist(part.flatten(1), references.flatten(1)) for part in images.split(BATCH_ROWS)
    ]
    return torch.cat(rows).argmin(dim=1)


def blurred(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Images after a Gaussian blur, in 8 bits; their edges are repeated outwards."""
    sigma = BLUR_SHARE * min(images.shape[-2:])
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1.0)
    kernel = (-(steps**2) / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    channels = images.flatten(0, 1)[:, None]
    padded = pad(channels, (reach, reach, reach, reach), mode="replicate")
    result = conv2d(conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return in_8_bits(result.view_as(images))


def noisy(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Images with Gaussian noise, in 8 bits."""
    rng = make_rng(Stream.NOISE, 0)
    return in_8_bits(images + NOISE * torch.randn(images.shape, generator=rng))


def in_8_bits(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Images clipped to [-1, 1] and rounded as files would be."""
    return to_signed_float(to_uint8(images))


def paste_squares(
    images: Float[Tensor, "N C H W"], labels: Int64[Tensor, " N"] | None, side: int
) -> tuple[Float[Tensor, "N C H W"], list[Corner]]:
    """Images with a square of another one at the same place, and where the squares are.

    The other image is of another class, if there are several. The first of ``PASTE_TRIES`` squares
    is taken that changes enough, or else the one that changes most.
    """
    height, width = images.shape[-2:]
    classes = torch.arange(len(images))
    if labels is not None and len(labels.unique()) > 1:
        classes = labels
    results, corners = images.clone(), []
    for row, image in enumerate(images):
        rng = make_rng(Stream.HOLES, 0, row)
        others = (classes != classes[row]).nonzero()[:, 0]
        tries = []
        for _ in range(PASTE_TRIES):
            other = images[others[torch.randint(len(others), (), generator=rng)]]
            top = int(torch.randint(height - side + 1, (), generator=rng))
            left = int(torch.randint(width - side + 1, (), generator=rng))
            inside = (..., slice(top, top + side), slice(left, left + side))
            change = float((other[inside] - image[inside]).abs().mean())
            tries.append((min(change, MIN_CHANGE), (top, left), inside, other))
            if change >= MIN_CHANGE:
                break
        _, corner, inside, other = max(tries, key=lambda each: each[0])
        results[row][inside] = other[inside]
        corners.append(corner)
    return results, corners


def areas(changed: Judgment, unchanged: Judgment) -> dict[str, float]:
    """For each score, the area under the ROC curve of changed against unchanged images."""
    result = {}
    for name, scores in changed.scores.items():
        both = torch.cat([scores, unchanged.scores[name]])
        is_changed = torch.arange(len(both)) < len(scores)
        result[name] = float(roc_auc_score(is_changed.numpy(), both.numpy()))
    return result


def overlaps(maps: Float[Tensor, "N H W"], corners: Sequence[Corner], side: int) -> list[float]:
    """The intersection over union of each pasted square and the one that is found in the map."""
    pairs = zip(maps, corners, strict=True)
    return [intersection_over_union(find_square(one, side), corner, side) for one, corner in pairs]


def find_square(values: Float[Tensor, "H W"], side: int) -> Corner:
    """The corner of the square with the highest mean."""
    means = avg_pool2d(values[None], side, stride=1)[0]
    top, left = divmod(int(means.argmax()), means.shape[1])
    return top, left


def intersection_over_union(one: Corner, other: Corner, side: int) -> float:
    """Common area of two squares over the area that at least one of them covers."""
    height, width = (max(0, side - abs(a - b)) for a, b in zip(one, other, strict=True))
    return height * width / (2 * side**2 - height * width)


def auc_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each score, and a column for each kind of changed images."""
    lines = [f"| score | {' | '.join(results)} |", "|---" * (1 + len(results)) + "|"]
    for name in next(iter(results.values())):
        cells = " | ".join(f"{areas_of_kind[name]:.3f}" for areas_of_kind in results.values())
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def overlap_table(results: Mapping[str, Sequence[float]]) -> str:
    """Mean, standard error, and the share of squares that are found, for each map."""
    lines = ["| map | intersection over union | at least 0.5 |", "|---|---|---|"]
    for name, values in results.items():
        array = np.array(values)
        error = array.std(ddof=1) / len(array) ** 0.5
        found = (array >= 0.5).mean()
        lines.append(f"| {name} | {array.mean():.3f} ± {error:.3f} | {found:.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, "anomalies")
