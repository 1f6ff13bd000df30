"""Seams, PSNR, SSIM and kernel distances in the protocol."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toy_models import TEST, TRAIN, Noise, Perfect, by_metric

from biglearn_gan.evaluation.completion_measures import measure_pixels
from biglearn_gan.evaluation.task import make_task
from biglearn_gan.metrics.features import EfficientNetFeatures
from biglearn_gan.metrics.frechet import GaussianStatistics, frechet_distance
from biglearn_gan.metrics.metric_models import MetricModels


class FlatPatches(Perfect):
    """Fills each patch of 2 x 2 pixels with its mean, and half of a step of noise."""

    def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
        means = F.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        noise = 0.1 * torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
        filled = torch.where(hole[:, None], (means + noise).clamp(-1, 1), images)
        return super().fill(filled, hole, variations, seed)


def test_real_images_are_the_floor_of_seams_and_flat_patches_far_above(
    metric_models: MetricModels,
) -> None:
    tasks = ["joint", "random:0.5", "center"]
    real = by_metric(Perfect(), metric_models, tasks=tasks)
    flat = by_metric(FlatPatches(), metric_models, tasks=tasks)
    for name in ("test_random50", "test_center"):
        record = real[f"seams130_patch2_{name}"]
        assert record.value == record.floor == flat[f"seams130_patch2_{name}"].floor
        assert (record.samples, record.features) == (390, "patch2")
        assert flat[f"seams130_patch2_{name}"].value > 2 * record.floor
    joint = real["seams130_patch2_joint"]
    assert joint.samples == 130 and joint.split is None
    assert abs(joint.value - joint.floor) < 5 * joint.error  # training images
    assert flat["seams130_patch2_joint"].value > 2 * joint.floor


def test_a_model_of_one_pixel_patches_has_no_seams(metric_models: MetricModels) -> None:
    class Pixels(Perfect):
        patch_size = 1

    records = by_metric(Pixels(), metric_models, tasks=["center"])
    assert not any(name.startswith("seams") for name in records)


def test_the_best_completion_is_that_with_the_highest_ratio(metric_models: MetricModels) -> None:
    class Improving(Perfect):
        """Is off by 8, 2 and 4 levels of 255 inside the hole."""

        def fill(self, images: Tensor, hole: Tensor, variations: int, seed: int) -> Tensor:
            completions = super().fill(images, hole, variations, seed) * 0.9
            originals = super().fill(images, hole, variations, seed)
            offsets = torch.tensor([8, 2, 4] * 22)[:variations, None, None, None] / 127.5
            inward = torch.where(completions > 0, -offsets, offsets)
            return torch.where(hole[:, None, None], originals + inward, originals)

    records = by_metric(Improving(), metric_models, tasks=["center"])
    first, best = (records[f"psnr{name}"] for name in ("130_pixels_test_center", BEST))
    assert first.value == pytest.approx(20 * math.log10(255 / 8))
    assert best.value == pytest.approx(20 * math.log10(255 / 2))
    assert (first.samples, best.samples) == (130, 390)
    assert first.error == pytest.approx(0, abs=1e-6)
    assert not any(name.startswith("ssim") for name in records)  # 8 x 8 pixels
    assert records["psnr130_pixels_test_center_mean"].value < 20
    alone = by_metric(Improving(), metric_models, tasks=["center"], variations=1)
    assert not any("best" in name for name in alone)


BEST = "-best130_pixels_test_center_of-3"


def test_similarity_is_measured_of_the_first_and_of_the_best_completion() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4, 3, 16, 16), generator=rng, dtype=torch.uint8)
    task = make_task("center", images, None, 4, 0)
    noise = torch.randint(256, (4, 3, 16, 16), generator=rng, dtype=torch.uint8)
    noisy = torch.where(task.hole[:, None], noise, images)
    found = measure_pixels(torch.stack([noisy, images], dim=1), task)
    assert bool((found["ssim"] < 0.9).all())
    torch.testing.assert_close(found["ssim-best"], torch.ones(4, dtype=torch.float64))
    assert list(found) == ["diversity", "changed", "psnr", "ssim", "psnr-best", "ssim-best"]
    assert list(measure_pixels(noisy[:, None], task)) == ["changed", "psnr", "ssim"]


def test_kernel_distances_are_near_zero_for_real_images_only(metric_models: MetricModels) -> None:
    records = by_metric(Perfect(), metric_models, num=397)
    record = records["kid397_classifier_test_random50"]
    assert record.value == pytest.approx(record.floor) and abs(record.value) < 4 * record.error
    noise = by_metric(Noise(), metric_models, num=397)["kid397_classifier_test_random50"]
    assert noise.floor == pytest.approx(record.floor)
    assert noise.value > 10 * noise.error


class Rows(EfficientNetFeatures):
    """The means of the eight rows of an image, on different scales."""

    name, dimensions, fingerprint = "rows", 8, "0"

    def __init__(self) -> None:
        pass

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=(1, 3)) * 1.3 ** torch.arange(8)


def test_efficientnet_is_measured_in_standardized_features(metric_models: MetricModels) -> None:
    features = Rows()
    records = by_metric(Perfect(), replace(metric_models, features=features), num=397)
    training, test = (
        features(data.images_uint8(torch.arange(len(data)))) for data in (TRAIN, TEST)
    )
    training, test = training.double(), test.double()
    mean, deviation = training.mean(dim=0), training.std(dim=0)
    moments = [GaussianStatistics(8), GaussianStatistics(8)]
    for statistics, vectors in zip(moments, (training, test), strict=True):
        statistics.update((vectors - mean) / deviation)
    record = records["fd397_rows-standardized_test_random50"]
    assert record.value == pytest.approx(frechet_distance(*moments), rel=1e-4)
    assert records["kid397_rows-standardized_test_random50"].features == "rows-standardized"
