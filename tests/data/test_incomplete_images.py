"""Training on incomplete images never uses an unknown pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from biglearn_gan.config import Config, ConfigError, DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.image_files import DataError
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.evaluation.during_training import make_training_evaluation
from biglearn_gan.tasks.holes import HoleError, named_hole
from biglearn_gan.tasks.patches import gather_tokens
from biglearn_gan.tasks.sampler import TaskBatch, add_random_targets
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training.fit import load_training_images
from biglearn_gan.training.monitor import training_grid
from biglearn_gan.training.throughput import describe
from biglearn_gan.training.trainer import Trainer
from biglearn_gan.training.training_batch import TrainingBatch

HALF = {"hole": "random:0.5:2", "seed": 3}


def digits(**missing: Any) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "digits", "image_size": 8, "channels": 1, "missing": missing or None}
    )


def pixels_of(dataset: ImageDataset) -> tuple[Tensor, Tensor]:
    batch = dataset.batch(torch.arange(len(dataset)))
    return batch.images, batch.observed


EVERYTHING = {
    "data.horizontal_flip": True,
    "loss.logistic": 1.0,
    "loss.communication": 0.3,
    "loss.penalty.kind": "finite_difference",
    "tasks.partial_patches": 0.5,
}


@pytest.mark.parametrize(
    "changes",
    [{}, {"data.labels": True}, EVERYTHING, EVERYTHING | {"data.labels": True}],
    ids=["plain", "labels", "flips and communication", "all of it"],
)
def test_unobserved_pixels_change_no_weight(
    tiny_config: Callable[..., Config], changes: dict[str, Any]
) -> None:
    """Other values in all unknown pixels give exactly the same weights."""
    config = tiny_config({"train.max_images": 80, "train.warm_start.share": 0.3} | changes)
    rng = torch.Generator().manual_seed(0)
    size = config.data.image_size
    pixels = torch.randint(256, (40, 1, *size), generator=rng, dtype=torch.uint8)
    shift = torch.randint(1, 256, (40, 1, *size), generator=rng, dtype=torch.uint8)
    observed = ~named_hole("random:0.4:2", size, 1, 40, 0)
    changed = torch.where(observed[:, None], pixels, pixels + shift)
    assert torch.equal(changed == pixels, observed[:, None])
    assert config.model.patch_size == 2
    labels = torch.arange(40) % 10
    datasets = [
        ImageDataset("incomplete", images, labels, 10, observed=observed)
        for images in (pixels, changed)
    ]
    weights = []
    for dataset in datasets:
        trainer = Trainer(config, dataset, Accelerator(cpu=True), config.train.max_images or 0)
        while not trainer.finished:
            trainer.step()
        weights.append([parameter.clone() for parameter in trainer.adversarial.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))
    grids = [training_grid(trainer.model(), dataset) for dataset in datasets]
    assert grids[0] == grids[1]


class TestHoles:
    def test_each_image_always_lacks_the_same_pixels(self) -> None:
        dataset = load_dataset(digits(**HALF), "train")
        images, observed = pixels_of(dataset)
        hole = named_hole("random:0.5:2", (8, 8), 1, len(dataset), 3)
        assert torch.equal(observed, ~hole)
        assert torch.equal(observed, pixels_of(load_dataset(digits(**HALF), "train"))[1])
        assert torch.equal(images, pixels_of(load_dataset(digits(), "train"))[0])

    def test_holes_are_mirrored_with_their_images(self) -> None:
        dataset = load_dataset(digits(**HALF), "train")
        index, flips = torch.tensor([4, 5]), torch.tensor([True, False])
        plain, mirrored = dataset.batch(index), dataset.batch(index, flips)
        for kind in ("images", "observed"):
            ours, theirs = getattr(plain, kind), getattr(mirrored, kind)
            assert torch.equal(theirs[0], ours[0].flip(-1))
            assert torch.equal(theirs[1], ours[1])

    def test_images_of_the_test_split_are_whole(self) -> None:
        assert pixels_of(load_dataset(digits(**HALF), "test"))[1].all()

    def test_an_unknown_hole_is_one_sentence(self, tiny_config: Callable[..., Config]) -> None:
        message = r"^data\.missing\.hole: unknown mask 'spots': choose one of .*outside:SIZE$"
        with pytest.raises(HoleError, match=message):
            load_dataset(digits(hole="spots"), "train")
        with pytest.raises(HoleError, match=message):  # a dry run, which needs no data
            describe(tiny_config({"data.missing": {"hole": "spots"}}), "cpu")


class TestImagesWithoutKnownPatch:
    def test_they_are_counted_and_left_out(self, tiny_config: Callable[..., Config]) -> None:
        config = tiny_config({"data.missing": {"hole": "outside:2"}})
        whole = load_dataset(config.data, "train")
        _, observed = pixels_of(whole)
        aligned = observed.view(-1, 4, 2, 4, 2).all(4).all(2).flatten(1).any(1)
        with pytest.warns(
            UserWarning, match=r"no fully observed patch of 2 pixels and are left out"
        ) as caught:
            dataset = load_training_images(config, torch.device("cpu"))
        left_out = int((~aligned).sum())
        assert f"{left_out:,} of {len(whole):,} images" in str(caught[0].message)
        assert len(dataset) == len(whole) - left_out < len(whole)

    def test_the_others_keep_their_pixels_and_labels(self) -> None:
        pixels = torch.arange(3 * 16, dtype=torch.uint8).view(3, 1, 4, 4)
        observed = torch.zeros(3, 4, 4, dtype=torch.bool)
        observed[0, 1:3, 1:3] = True  # no aligned patch of 2
        observed[1, 2:4, 0:2] = True
        observed[2] = True
        dataset = ImageDataset("x:train", pixels, torch.tensor([5, 6, 7]), 10, observed=observed)
        kept = dataset.with_observed_patch(2)
        assert kept.labels is not None
        assert kept.labels.tolist() == [6, 7]
        assert torch.equal(kept.images_uint8(torch.arange(2)), pixels[1:])
        assert torch.equal(kept.batch(torch.arange(2)).observed, observed[1:])
        assert len(dataset.with_observed_patch(4)) == 1

    def test_if_none_is_left_the_message_says_what_to_do(
        self, tiny_config: Callable[..., Config]
    ) -> None:
        config = tiny_config({"data.missing": {"hole": "outside:1"}})
        with pytest.raises(DataError, match=r"1,400 of 1,400 .*; lower model.patch_size"):
            load_training_images(config, torch.device("cpu"))


class TestAlpha:
    def test_pixels_that_are_not_opaque_are_unknown(self, tmp_path: Path) -> None:
        generator = np.random.default_rng(0)
        alphas = 255 * (generator.random((6, 8, 8)) < 0.7).astype(np.uint8)
        alphas[0, 0, 0] = 254
        for split in ("train", "test"):
            (tmp_path / split).mkdir()
            for number, alpha in enumerate(alphas):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                image = Image.fromarray(np.concatenate([pixels, alpha[..., None]], axis=2))
                image.save(tmp_path / split / f"{number}.png")
        config = DataConfig.model_validate(
            {
                "name": "folder",
                "root": str(tmp_path),
                "image_size": 8,
                "channels": 3,
                "missing": {"alpha": True},
            }
        )
        _, observed = pixels_of(load_dataset(config, "train"))
        assert torch.equal(observed, torch.from_numpy(alphas == 255))
        halved = config.model_copy(update={"image_size": (4, 4)})
        _, coarse = pixels_of(load_dataset(halved, "train"))
        assert torch.equal(coarse, observed.view(6, 4, 2, 4, 2).all(4).all(2))


class TestMaskFiles:
    @pytest.fixture
    def config(self, tmp_path: Path) -> DataConfig:
        """Six images, each with a mask file; white = unknown."""
        generator = np.random.default_rng(0)
        for split in ("train", "test"):
            (tmp_path / split).mkdir()
            for number in range(6):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                hidden = 255 * (generator.random((8, 8)) < 0.3).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / f"{number}.bmp")
                Image.fromarray(hidden).save(tmp_path / split / f"{number}.mask.png")
        values = {"root": str(tmp_path), "image_size": 8, "channels": 3}
        return DataConfig.model_validate({"name": "folder", **values, "missing": {"masks": True}})

    def test_black_pixels_of_a_mask_file_are_known(
        self, config: DataConfig, tmp_path: Path
    ) -> None:
        dataset = load_dataset(config, "train")
        assert len(dataset) == 6
        _, observed = pixels_of(dataset)
        masks = [np.asarray(Image.open(tmp_path / f"train/{i}.mask.png")) for i in range(6)]
        assert torch.equal(observed, torch.from_numpy(np.stack(masks) == 0))
        assert pixels_of(load_dataset(config, "test"))[1].all()

    def test_an_image_without_mask_is_named(self, config: DataConfig, tmp_path: Path) -> None:
        (tmp_path / "train" / "3.mask.png").unlink()
        with pytest.raises(DataError, match=r"3\.bmp has no mask file: 3\.mask\.png is missing"):
            load_dataset(config, "train")
        (tmp_path / "train" / "3.mask.png").write_text("no image")
        with pytest.raises(DataError, match=r"3\.mask\.png cannot be read"):
            load_dataset(config, "train")

    def test_a_mask_of_another_size_or_with_gray_is_refused(
        self, config: DataConfig, tmp_path: Path
    ) -> None:
        mask = tmp_path / "train" / "3.mask.png"
        Image.new("L", (8, 4)).save(mask)
        with pytest.raises(DataError, match=r"has 4 x 8 pixels .* its image has 8 x 8"):
            load_dataset(config, "train")
        Image.new("L", (8, 8), 128).save(mask)
        with pytest.raises(DataError, match="not black and white"):
            load_dataset(config, "train")

    def test_transparent_pixels_of_a_mask_are_unknown(
        self, config: DataConfig, tmp_path: Path
    ) -> None:
        pixels = np.zeros((8, 8, 4), dtype=np.uint8)
        pixels[:3, :, 3] = 255
        Image.fromarray(pixels).save(tmp_path / "train" / "3.mask.png")
        assert (
            pixels_of(load_dataset(config, "train"))[1][3].any(dim=1).tolist()
            == [True] * 3 + [False] * 5
        )

    @pytest.mark.parametrize("limit", [4096, 0])
    def test_unknown_pixels_do_not_leak_into_smaller_images(
        self, config: DataConfig, tmp_path: Path, limit: int
    ) -> None:
        smaller = config.model_copy(update={"image_size": (3, 3), "memory_limit_mb": limit})
        before, observed = pixels_of(load_dataset(smaller, "train"))
        assert 0 < observed.double().mean() < 1
        for path in sorted((tmp_path / "train").glob("*.bmp")):
            hidden = np.asarray(Image.open(path.with_name(path.stem + ".mask.png"))) > 0
            pixels = np.asarray(Image.open(path)).copy()
            pixels[hidden] = 255 - pixels[hidden]
            Image.fromarray(pixels).save(path)
        after, again = pixels_of(load_dataset(smaller, "train"))
        assert torch.equal(again, observed)
        seen = observed[:, None].expand(-1, 3, -1, -1)
        assert torch.equal(after[seen], before[seen])
        assert not torch.equal(after, before)


class TestConfig:
    @pytest.mark.parametrize(
        ("missing", "problem"),
        [
            ({}, "data.missing: set exactly one of hole, alpha, masks, not none"),
            (HALF | {"alpha": True}, "data.missing: set exactly one"),
            (HALF | {"masks": True}, "data.missing: set exactly one"),
            ({"masks": True}, "data.missing.masks: digits has no mask files"),
            ({"alpha": True}, "data.missing.alpha: digits has no transparent pixels"),
            ({"share": 0.5}, "data.missing.share"),
        ],
    )
    def test_mistakes(
        self, tiny_config: Callable[..., Config], missing: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            tiny_config({"data.missing": missing})
        assert problem in caught.value.problems[0]

    def test_nothing_is_evaluated_alongside(self, tiny_config: Callable[..., Config]) -> None:
        config = tiny_config({"data.missing": HALF})
        evaluation, (note,) = make_training_evaluation(
            config, load_dataset(config.data, "train"), None
        )
        assert evaluation is None
        assert "the training images are incomplete" in note


class TestDrawingMoreThanIsJudged:
    @given(st.integers(0, 2**32), st.integers(1, 16))
    @settings(max_examples=30, deadline=None)
    def test_tasks_get_equally_many_further_targets(self, seed: int, present: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        order = torch.rand(5, 16, generator=rng).argsort(dim=1)
        target = order < (present + 1) // 2
        tasks = TaskBatch(TokenMasks((order < present) & ~target, target), torch.zeros(5).long())
        wider = add_random_targets(tasks, rng).masks
        assert torch.equal(wider.source, tasks.masks.source)
        assert (wider.target >= target).all()
        counts = wider.union.sum(dim=1)
        assert (counts == counts[0]).all() and present <= counts[0] <= 16

    def test_every_size_up_to_the_whole_image_is_drawn(self) -> None:
        rng = torch.Generator().manual_seed(0)
        masks = TokenMasks(torch.zeros(3, 9).bool(), torch.eye(9)[:3].bool())
        tasks = TaskBatch(masks, torch.zeros(3).long())
        sizes = {int(add_random_targets(tasks, rng).masks.union[0].sum()) for _ in range(200)}
        assert sizes == set(range(1, 10))

    def test_the_scored_tokens_are_found_among_the_generated_ones(
        self, tiny_config: Callable[..., Config]
    ) -> None:
        config = tiny_config({"data.missing": {"hole": "random:0.5:2"}, "data.labels": True})
        dataset = load_dataset(config.data, "train")
        trainer = Trainer(config, dataset, Accelerator(cpu=True), 48)
        seen: list[TrainingBatch] = []
        training = trainer.adversarial
        step = training.warm_start_step
        training.warm_start_step = lambda batch, sizes: (seen.append(batch), step(batch, sizes))[1]
        while trainer.in_warm_start:
            trainer.step()
        sizes = []
        for batch in seen:
            assert batch.superset is not None
            generated, scored = batch.superset.sequence, batch.superset.scored
            assert torch.equal(generated.positions.gather(1, scored), batch.sequence.positions)
            assert torch.equal(generated.is_target.gather(1, scored), batch.sequence.is_target)
            assert torch.equal(gather_tokens(batch.superset.real, scored), batch.real)
            added = torch.ones_like(generated.is_target).scatter(1, scored, False)
            assert generated.is_target[added].all()
            sizes.append(int(added[0].sum()))
        assert max(sizes) > 0

    def test_complete_images_are_generated_as_they_are_scored(
        self, tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
    ) -> None:
        assert not tiny_dataset.incomplete
        trainer = Trainer(tiny_config(), tiny_dataset, Accelerator(cpu=True), 48)
        batch, _ = trainer.batch_sampler.draw(0)
        assert batch.superset is None
