"""Gaussian fields: their formulas, their images, and the checks of a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from mixture_tools import covariance_of

from biglearn_gan.config import Config, ConfigError, DataConfig, FieldName
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.data.raw_datasets import FIELD_SIZES
from biglearn_gan.pixel_values import to_uint8

HEIGHT, WIDTH = 5, 7
NAMES = [name for name in get_args(FieldName) if name != "grid"]


def pixel(row: int, column: int) -> int:
    return row * WIDTH + column


def entry_of(name: FieldName, one: tuple[int, int], other: tuple[int, int]) -> float:
    field = gaussian_field(name, (HEIGHT, WIDTH))
    return float(field.covariances[0, pixel(*one), pixel(*other)])


@pytest.mark.parametrize("name", NAMES)
def test_every_covariance_is_well_conditioned(name: FieldName) -> None:
    field = gaussian_field(name, (8, 8))
    assert field.dimension == 64
    assert (torch.linalg.eigvalsh(field.covariances) > 0.01).all()


@pytest.mark.parametrize("name", ["smooth", "rough"])
def test_the_covariance_of_a_stationary_field_depends_on_the_distance_only(name: FieldName) -> None:
    field = gaussian_field(name, (HEIGHT, WIDTH))
    assert not field.means.any()
    assert torch.allclose(covariance_of(field).diagonal(), torch.tensor(0.25, dtype=torch.float64))
    here = entry_of(name, (0, 0), (1, 2))
    for one, other in (((3, 4), (4, 6)), ((2, 3), (1, 1)), ((4, 0), (2, 1)), ((1, 6), (3, 5))):
        assert entry_of(name, one, other) == pytest.approx(here)


def test_the_kernels_match_their_formulas() -> None:
    distance = math.hypot(2, 3)
    smooth = entry_of("smooth", (0, 1), (2, 4))
    assert smooth == pytest.approx(0.25 * 0.95 * math.exp(-(distance**2) / 8))
    assert entry_of("rough", (0, 1), (2, 4)) == pytest.approx(0.25 * math.exp(-distance / 2))


def test_the_rough_field_is_less_predictable_from_neighbors() -> None:
    def deviation_given_neighbors(name: FieldName) -> float:
        field = gaussian_field(name, (HEIGHT, WIDTH))
        rest = [i for i in range(field.dimension) if i != pixel(2, 3)]
        return float(field.conditional([pixel(2, 3)], rest).covariances.sqrt())

    assert 0.1 < deviation_given_neighbors("smooth") < 0.2
    assert 0.2 < deviation_given_neighbors("rough") < 0.4


class TestMixture:
    field = gaussian_field("mixture", (HEIGHT, WIDTH))

    def test_each_component_has_its_bump(self) -> None:
        for mean, (row, column) in zip(
            self.field.means.view(-1, HEIGHT, WIDTH), ((1, 1), (1, 5), (3, 3)), strict=True
        ):
            assert divmod(int(mean.argmax()), WIDTH) == (row, column)
        assert self.field.means.min() == pytest.approx(-1 / 3, abs=0.01)
        assert 0.5 < self.field.means.max() < 2 / 3

    def test_components_stretch_in_different_directions(self) -> None:
        across, down = pixel(2, 4) - pixel(2, 3), pixel(3, 3) - pixel(2, 3)
        here = pixel(2, 3)
        wide, tall, even = self.field.covariances[:, here]
        assert wide[here + across] > 1.3 * wide[here + down]
        assert tall[here + down] > 1.3 * tall[here + across]
        assert even[here + down] == pytest.approx(float(even[here + across]))
        expected = 0.9 / 9 * math.exp(-0.5 * ((1 / 1) ** 2 + (2 / 3) ** 2))
        assert float(wide[pixel(3, 5)]) == pytest.approx(expected)

    def test_a_conditional_can_have_several_modes(self) -> None:
        """Given a gray top row, the pixel at the center of the lower bump is bright or dark."""
        source = [pixel(0, column) for column in range(WIDTH)]
        conditional = self.field.conditional([pixel(3, 3)], source)
        given = self.field.marginal(source).means.mean(dim=0, keepdim=True)
        values = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)[:, None]
        density = conditional.log_density(values, given.expand(301, -1))
        inner = density[1:-1]
        assert int(((inner > density[:-2]) & (inner > density[2:])).sum()) == 2


def data(name: str, size: Any = (HEIGHT, WIDTH), **others: Any) -> DataConfig:
    return DataConfig(name=f"gaussian_field_{name}", image_size=size, channels=1, **others)


class TestData:
    def test_the_splits_have_their_sizes_and_share_nothing(self) -> None:
        train, test = (load_dataset(data("rough"), split) for split in ("train", "test"))
        assert (train.name, test.name) == (
            "gaussian_field_rough:train",
            "gaussian_field_rough:test",
        )
        assert (len(train), len(test)) == (50_000, 5_000)
        assert (train.image_size, train.channels, train.labels) == ((HEIGHT, WIDTH), 1, None)
        images = torch.cat([d.batch(torch.arange(len(d))).images for d in (train, test)])
        assert len({image.numpy().tobytes() for image in images}) == 55_000

    def test_pixels_have_the_moments_of_the_field_and_are_unbounded(self) -> None:
        dataset = load_dataset(data("mixture"), "train")
        images = dataset.batch(torch.arange(len(dataset))).images
        assert images.dtype == torch.float32
        assert images.abs().max() > 1
        field = gaussian_field("mixture", (HEIGHT, WIDTH))
        found = images.flatten(1).double()
        assert (found.mean(dim=0) - field.mean).abs().max() < 0.01
        error = (found.T.cov() - covariance_of(field)).norm() / covariance_of(field).norm()
        assert float(error) < 0.03

    def test_images_do_not_depend_on_the_global_random_state(self) -> None:
        first = load_dataset(data("smooth"), "test").batch(torch.arange(5000)).images
        torch.manual_seed(77)
        torch.randn(3)
        again = load_dataset(data("smooth"), "test").batch(torch.arange(5000)).images
        assert torch.equal(first, again)

    def test_different_fields_have_different_images(self) -> None:
        smooth, rough = (load_dataset(data(n), "test") for n in ("smooth", "rough"))
        index = torch.tensor([3])
        assert not torch.equal(smooth.batch(index).images, rough.batch(index).images)

    def test_validation_is_held_out_of_train(self) -> None:
        share = data("smooth", (2, 3), validation_share=0.1)
        train, validation = (load_dataset(share, split) for split in ("train", "validation"))
        whole = load_dataset(data("smooth", (2, 3)), "train")
        assert (len(train), len(validation)) == (45_000, 5_000)
        parts = torch.cat([d.batch(torch.arange(len(d))).images for d in (train, validation)])
        everything = whole.batch(torch.arange(len(whole))).images
        assert torch.equal(*(each.flatten().sort().values for each in (parts, everything)))

    def test_without_a_share_there_is_no_validation_split(self) -> None:
        with pytest.raises(DataError, match="gaussian_field_smooth:validation is empty"):
            load_dataset(data("smooth"), "validation")

    def test_other_channels_are_refused(self) -> None:
        color = data("smooth").model_copy(update={"channels": 3})
        with pytest.raises(DataError, match=r"gaussian_field_smooth has 1 channel, not 3"):
            load_dataset(color, "test")

    def test_train_and_test_have_a_size(self) -> None:
        assert set(FIELD_SIZES) == {"train", "test"}

    def test_the_grid_has_two_coordinates(self) -> None:
        dataset = load_dataset(data("grid", (1, 2)), "train")
        x = dataset.batch(torch.arange(50_000)).images.flatten(1).double()
        distances = torch.cdist(x, gaussian_field("grid", (1, 2)).means).amin(dim=1)
        assert float(distances.square().mean()) == pytest.approx(2 * 0.05, rel=0.02)
        with pytest.raises(ValueError, match=r"has \(1, 2\) pixels, not \(2, 2\)"):
            gaussian_field("grid", (2, 2))


class TestFloatImages:
    pixels = torch.tensor([[-3.0, -1.0, 0.1], [0.0, 1.0, 4.0]]).view(2, 1, 1, 3)

    def test_a_batch_has_them_unchanged(self) -> None:
        dataset = ImageDataset("floats:train", self.pixels)
        assert torch.equal(dataset.batch(torch.tensor([1, 0])).images, self.pixels[[1, 0]])

    def test_they_can_be_mirrored(self) -> None:
        dataset = ImageDataset("floats:train", self.pixels)
        batch = dataset.batch(torch.tensor([1, 0]), torch.tensor([True, False]))
        assert batch.images.flatten().tolist() == [4, 1, 0, *self.pixels[0].flatten().tolist()]

    def test_as_uint8_they_are_clipped_and_rounded(self) -> None:
        found = ImageDataset("floats:train", self.pixels).images_uint8(torch.tensor([0, 1]))
        assert torch.equal(found, to_uint8(self.pixels))
        assert found.flatten().tolist() == [0, 0, 140, 128, 255, 255]


class TestConfig:
    def problems(
        self, tiny_config: Callable[..., Config], changes: dict[str, Any]
    ) -> tuple[str, ...]:
        valid = {"data.name": "gaussian_field_rough", "model.generator.output": "linear"}
        assert tiny_config(valid).data.gaussian_field == "rough"
        with pytest.raises(ConfigError) as caught:
            tiny_config(valid | changes)
        return caught.value.problems

    def test_digits_are_not_a_field(self, tiny_config: Callable[..., Config]) -> None:
        assert tiny_config().data.gaussian_field is None

    @pytest.mark.parametrize("name", NAMES)
    def test_every_field_is_a_data_set(
        self, tiny_config: Callable[..., Config], name: FieldName
    ) -> None:
        changes = {"data.name": f"gaussian_field_{name}", "model.generator.output": "linear"}
        assert tiny_config(changes).data.gaussian_field == name

    def test_a_bounded_generator_is_refused(self, tiny_config: Callable[..., Config]) -> None:
        (problem,) = self.problems(tiny_config, {"model.generator.output": "tanh"})
        assert "no bounds; set model.generator.output: linear" in problem

    def test_color_is_refused(self, tiny_config: Callable[..., Config]) -> None:
        (problem,) = self.problems(tiny_config, {"data.channels": 3})
        assert problem == "data.channels: gaussian_field_rough has 1 channel, not 3"

    def test_mirroring_is_refused(self, tiny_config: Callable[..., Config]) -> None:
        (problem,) = self.problems(tiny_config, {"data.horizontal_flip": True})
        assert problem.startswith("data.horizontal_flip: a mirrored gaussian_field_rough")

    def test_a_grid_of_another_size_is_refused(self, tiny_config: Callable[..., Config]) -> None:
        (problem,) = self.problems(tiny_config, {"data.name": "gaussian_field_grid"})
        assert problem.startswith("data.image_size: gaussian_field_grid has [1, 2], not [")

    def test_a_bounded_generator_cannot_mix_tokens(
        self, tiny_config: Callable[..., Config]
    ) -> None:
        components = [{"name": "x", "weight": 1.0, "domain": "orthogonal"}]
        with pytest.raises(ConfigError) as caught:
            tiny_config({"tasks": {"components": components}, "train.warm_start.share": 0.0})
        (problem,) = caught.value.problems
        assert problem.startswith("tasks.components.0.domain: 'tanh' cannot draw")
