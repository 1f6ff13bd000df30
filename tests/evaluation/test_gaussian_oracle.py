"""The oracle on models whose faults are known: each must show in its own number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.data.gaussian_fields import gaussian_field
from biglearn_gan.evaluation import gaussian_oracle as oracle
from biglearn_gan.evaluation.gaussian_oracle import KINDS, OracleError, _refit, evaluate_oracle
from biglearn_gan.evaluation.records import Record, write_records
from biglearn_gan.gaussian_mixture import GaussianMixture
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.token_model import SamplingOptions
from biglearn_gan.tasks.patches import patchify, pixels_of_tokens, unpatchify
from biglearn_gan.tasks.token_masks import TokenMasks

SIZE = (4, 6)
FIELD = gaussian_field("mixture", SIZE)
ROUGH = gaussian_field("rough", SIZE)
TASKS, SOURCES, DRAWS = 2, 20, 60
NAMES = [kind.name for kind in KINDS]
WITH_SOURCE = [kind.name for kind in KINDS if kind.target.pattern != "everything"]


class Perfect:
    """Draws from the exact conditional of a field."""

    def __init__(self, config: Config, field: GaussianMixture = FIELD):
        self.config = config
        self.field = field

    def critic_logits(self, tokens: Tensor, masks: TokenMasks) -> Tensor:
        raise AssertionError("this model has no absolute scores")

    def generate(self, tokens: Tensor, masks: TokenMasks, options: SamplingOptions) -> Tensor:
        """All rows must have the same task, as in the oracle."""
        variations = options.variations
        patch_size, grid_size = self.config.model.patch_size, self.config.grid_size
        source, target = (
            pixels_of_tokens(each[:1], grid_size, patch_size).flatten().nonzero()[:, 0]
            for each in (masks.source, masks.target)
        )
        images = unpatchify(tokens, grid_size, patch_size).flatten(1)
        whole = images[:, None].repeat(1, variations, 1)
        rng = torch.Generator().manual_seed(1000 * options.seed + options.first_image)
        drawn = self.draw(images.double(), target, source, variations, rng)
        whole[..., target] = drawn.float()
        result = patchify(whole.view(-1, 1, *SIZE), patch_size)
        return result.view(len(tokens), variations, *tokens.shape[1:])

    def draw(
        self, images: Tensor, target: Tensor, source: Tensor, draws: int, rng: torch.Generator
    ) -> Tensor:
        conditional = self.field.conditional(target, source)
        return conditional.sample(images[:, source], draws, rng)


class Unconditional(Perfect):
    """Draws from the marginal of the target, whatever the source."""

    def draw(
        self, images: Tensor, target: Tensor, source: Tensor, draws: int, rng: torch.Generator
    ) -> Tensor:
        nothing = torch.empty(0, dtype=torch.int64)
        return super().draw(images, target, nothing, draws, rng)


class Stretched(Perfect):
    """The exact mean, and ``factor`` times the exact deviation from it."""

    factor = 0.0

    def draw(
        self, images: Tensor, target: Tensor, source: Tensor, draws: int, rng: torch.Generator
    ) -> Tensor:
        drawn = super().draw(images, target, source, draws, rng)
        mean = self.field.conditional(target, source).mean(images[:, source])[:, None]
        return mean + self.factor * (drawn - mean)


@pytest.fixture
def config(tiny_config: Callable[..., Config]) -> Callable[..., Config]:
    def make(changes: dict[str, Any] | None = None) -> Config:
        sound = {
            "data.name": "gaussian_field_mixture",
            "data.image_size": list(SIZE),
            "model.generator.output": "linear",
        }
        return tiny_config(sound | (changes or {}))

    return make


def measure(
    model: Any, field: GaussianMixture = FIELD, **options: Any
) -> dict[tuple[str, str | None, str], Record]:
    numbers = {"seed": 0, "tasks_per_kind": TASKS, "sources": SOURCES, "draws": DRAWS}
    records = evaluate_oracle(model, field, **(numbers | options))
    found = {(record.measure, record.subject, record.task): record for record in records}
    assert len(found) == len(records)
    return found


def test_perfect_draws_score_at_their_floor(config: Callable[..., Config]) -> None:
    records = measure(Perfect(config()))
    for kind in NAMES:
        mean = records["mean-error", None, kind]
        assert mean.floor == pytest.approx(1 / math.sqrt(DRAWS), rel=0.2)
        assert mean.value == pytest.approx(mean.floor, rel=0.2)
        covariance = records["covariance-error", None, kind]
        assert covariance.floor is not None
        assert 0.1 < covariance.floor < 0.6
        assert covariance.value == pytest.approx(covariance.floor, rel=0.2)
        mode = records["mode-error", None, kind]
        assert mode.floor is not None
        assert mode.floor < 0.1
        assert mode.value == pytest.approx(mode.floor, abs=0.02)


def test_draws_that_ignore_their_source_have_large_errors(config: Callable[..., Config]) -> None:
    """Only for tasks that have a source."""
    unconditional, perfect = measure(Unconditional(config())), measure(Perfect(config()))
    for kind in NAMES:
        record = unconditional["mean-error", None, kind]
        assert record.floor is not None
        if kind in WITH_SOURCE:
            assert record.value > 3 * record.floor
            baseline = perfect["mean-error", "unconditional", kind]
            assert baseline.value == pytest.approx(record.value, rel=0.15)
            assert baseline.floor == perfect["mean-error", None, kind].floor
            for measure_ in ("covariance-error", "mode-error"):
                other = unconditional[measure_, None, kind]
                assert other.floor is not None
                assert other.value > 2 * other.floor
        else:
            assert record.value == pytest.approx(record.floor, rel=0.2)


def test_without_diversity_the_covariance_error_is_one(
    config: Callable[..., Config],
) -> None:
    for (name, subject, _), record in measure(Stretched(config())).items():
        if (name, subject) == ("mean-error", None):
            assert record.value < 1e-5
        elif (name, subject) == ("covariance-error", None):
            assert record.value == pytest.approx(1, abs=1e-5)


def test_twice_the_deviation_has_a_covariance_error_of_three(config: Callable[..., Config]) -> None:
    model = Stretched(config())
    model.factor = 2.0
    for (name, subject, _), record in measure(model).items():
        if (name, subject) == ("mean-error", None):
            assert record.value == pytest.approx(2 / math.sqrt(DRAWS), rel=0.2)
        elif (name, subject) == ("covariance-error", None):
            assert record.value == pytest.approx(3, rel=0.3)


class Averaged(Perfect):
    """The exact mean of each source, and the average covariance of all sources."""

    def draw(
        self, images: Tensor, target: Tensor, source: Tensor, draws: int, rng: torch.Generator
    ) -> Tensor:
        conditional = self.field.conditional(target, source)
        source_values = images[:, source]
        pooled = torch.linalg.cholesky(conditional.covariance(source_values).mean(dim=0))
        shape = (len(images), draws, len(target))
        noise = torch.randn(shape, generator=rng, dtype=torch.float64)
        return conditional.mean(source_values)[:, None] + noise @ pooled.T


class Nearest(Perfect):
    """Draws from the component that explains the source best; all other modes are missing."""

    def draw(
        self, images: Tensor, target: Tensor, source: Tensor, draws: int, rng: torch.Generator
    ) -> Tensor:
        best = self.field.conditional(target, source).weights(images[:, source]).argmax(dim=1)
        drawn = []
        for image, k in zip(images, best.tolist(), strict=True):
            one = slice(k, k + 1)
            weight = torch.ones(1, dtype=torch.float64)
            field = GaussianMixture(weight, self.field.means[one], self.field.covariances[one])
            source_values = image[None, source]
            drawn.append(field.conditional(target, source).sample(source_values, draws, rng))
        return torch.cat(drawn)


def test_a_covariance_that_is_exact_only_on_average_has_an_error(
    config: Callable[..., Config],
) -> None:
    """Without a source there is one covariance, but one mode instead of three."""
    records = measure(Averaged(config()))
    for kind in NAMES:
        mean = records["mean-error", None, kind]
        assert mean.value == pytest.approx(mean.floor, rel=0.2)
        covariance, mode = (records[f"{what}-error", None, kind] for what in ("covariance", "mode"))
        assert covariance.floor is not None
        assert mode.floor is not None
        if kind in WITH_SOURCE:
            assert covariance.value > 1.3 * covariance.floor
        else:
            assert mode.value > 1.3 * mode.floor


def test_missing_modes_have_an_error(config: Callable[..., Config]) -> None:
    """For tasks whose source leaves several modes, which their floor shows."""
    records = measure(Nearest(config()))
    modes = [records["mode-error", None, kind] for kind in NAMES]
    several = [mode for mode in modes if mode.floor is not None and mode.floor > 0.02]
    assert len(several) >= 5
    for mode in several:
        assert mode.floor is not None
        assert mode.value > 2.5 * mode.floor


def test_a_field_of_one_component_has_no_modes(config: Callable[..., Config]) -> None:
    records = measure(Perfect(config({"data.name": "gaussian_field_rough"}), ROUGH), ROUGH)
    assert not [name for name, _, _ in records if name == "mode-error"]


def test_the_error_of_the_mean_is_in_standard_deviations(config: Callable[..., Config]) -> None:
    class Shifted(Stretched):
        def draw(
            self, images: Tensor, target: Tensor, source: Tensor, draws: int, generator: Any
        ) -> Tensor:
            exact = self.field.conditional(target, source).covariance(images[:, source])
            deviation = exact.diagonal(dim1=1, dim2=2).sqrt()[:, None]
            return super().draw(images, target, source, draws, generator) + 0.5 * deviation

    for (name, subject, _), record in measure(Shifted(config())).items():
        if (name, subject) == ("mean-error", None):
            assert record.value == pytest.approx(0.5, abs=1e-5)


@pytest.fixture
def few_for_the_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real networks are slow."""
    monkeypatch.setattr(oracle, "CRITIC_FIT", 96)
    monkeypatch.setattr(oracle, "CRITIC_REAL", 32)


@pytest.mark.usefixtures("few_for_the_critic")
def test_the_same_seed_gives_the_same_records(config: Callable[..., Config]) -> None:
    model = BigLearnGAN(config({"loss.logistic": 1.0})).eval()
    small = {"tasks_per_kind": 1, "sources": 3, "draws": 4}
    first = measure(model, **small)
    torch.manual_seed(9)
    assert measure(model, **small) == first
    other = measure(model, **small, seed=1)
    assert all(other[key].value != record.value for key, record in first.items())


@pytest.mark.usefixtures("few_for_the_critic")
def test_the_records_of_a_model(config: Callable[..., Config], tmp_path: Any) -> None:
    model = BigLearnGAN(config({"loss.logistic": 1.0})).eval()
    joint = BigLearnGAN(
        config({"tasks.preset": "joint", "train.warm_start": {"share": 0.0}})
    ).eval()
    calls: list[tuple[str, int, int]] = []
    records = measure(
        model,
        tasks_per_kind=2,
        sources=3,
        draws=4,
        joint_model=joint,
        progress=lambda *call: calls.append(call),
    )
    errors = ["mean-error", "covariance-error", "mode-error"]
    expected = Counter({(name, None): len(NAMES) for name in [*errors, "critic-correlation"]})
    for baseline in ("unconditional", "joint-only"):
        expected |= Counter({(name, baseline): len(WITH_SOURCE) for name in errors})
    assert Counter((name, subject) for name, subject, _ in records) == expected
    assert {"mean-error6_oracle_box_joint-only", "critic-correlation64_approximate_box"} <= {
        record.metric for record in records.values()
    }
    for (name, subject, kind), record in records.items():
        assert kind in (NAMES if subject is None else WITH_SOURCE)
        assert record.error is not None
        assert record.seed == 0
        critic = name == "critic-correlation"
        assert (record.floor is None, record.ceiling is None) == (critic, not critic)
        assert record.samples == (2 * 96 if critic else 2 * 3 * 4)
    write_records(list(records.values()), tmp_path)
    assert calls[:3] == [("joint", 0, 24), ("joint", 12, 24), ("joint", 24, 24)]
    assert len(calls) == 3 * len(KINDS)


def test_the_joint_model_has_the_same_tasks(config: Callable[..., Config]) -> None:
    only_joint = config({"tasks.preset": "joint", "train.warm_start": {"share": 0.0}})
    records = measure(Perfect(config()), joint_model=Unconditional(only_joint))
    for kind in WITH_SOURCE:
        baseline = records["mean-error", "joint-only", kind]
        assert baseline.value > 3 * records["mean-error", None, kind].value


def test_one_mask_has_no_standard_error(config: Callable[..., Config]) -> None:
    records = measure(Perfect(config()), tasks_per_kind=1)
    assert all(record.error is None for record in records.values())


class TestCritic:
    """A model of another field, and critics that may know the exact ratio of the two."""

    other = GaussianMixture(ROUGH.weights, ROUGH.means + 0.1, 1.2 * ROUGH.covariances)

    def correlations(
        self, config: Callable[..., Config], critic: Callable[[Tensor, Tensor], Tensor]
    ) -> list[Record]:
        settings = config({"data.name": "gaussian_field_rough", "loss.logistic": 1.0})
        model = Perfect(settings, self.other)

        def critic_logits(tokens: Tensor, masks: TokenMasks) -> Tensor:
            ratio = self.ratio(settings, tokens, masks.source[0], masks.target[0])
            return critic(ratio, tokens).float()

        model.critic_logits = critic_logits  # type: ignore[method-assign]
        records = measure(model, ROUGH, sources=1, draws=2)
        return [r for (name, _, _), r in records.items() if name == "critic-correlation"]

    def ratio(
        self, settings: Config, tokens: Tensor, source_tokens: Tensor, target_tokens: Tensor
    ) -> Tensor:
        """log q(x_T | x_S) - log p(x_T | x_S), from the definition of both as quotients."""
        numbers = torch.arange(24.0).view(1, 1, *SIZE)
        pixel = patchify(numbers, settings.model.patch_size)[0].long()  # (L, P)
        source = pixel[source_tokens].flatten()
        union = torch.cat([pixel[target_tokens].flatten(), source])
        x_source = tokens[:, source_tokens].flatten(1).double()
        x = torch.cat([tokens[:, target_tokens].flatten(1).double(), x_source], dim=1)

        def log_quotient(law: GaussianMixture) -> Tensor:
            joint = law.marginal(union).log_density(x)
            return joint - law.marginal(source).log_density(x_source)

        return log_quotient(ROUGH) - log_quotient(self.other)

    def test_the_exact_ratio_reaches_the_ceiling(self, config: Callable[..., Config]) -> None:
        for record in self.correlations(config, lambda ratio, tokens: ratio):
            assert record.ceiling is not None
            assert 0.7 < record.ceiling <= 1
            assert record.value == pytest.approx(record.ceiling, abs=0.1)

    def test_scale_and_constant_do_not_matter_but_the_sign_does(
        self, config: Callable[..., Config]
    ) -> None:
        for record in self.correlations(config, lambda ratio, tokens: 3 - 0.5 * ratio):
            assert record.value < -0.6

    def test_a_critic_of_noise_correlates_with_nothing(self, config: Callable[..., Config]) -> None:
        for record in self.correlations(config, lambda ratio, tokens: torch.randn(len(ratio))):
            assert abs(record.value) < 0.15

    def test_only_absolute_scores_are_measured(self, config: Callable[..., Config]) -> None:
        records = measure(Perfect(config()), sources=1, draws=2)
        assert not [name for name, _, _ in records if "critic" in name]


class TestRefit:
    def test_one_component_has_nearly_the_moments_of_the_samples(self) -> None:
        """Those of the samples and of D = 24 points with the law's own moments."""
        samples = 0.3 + 0.5 * ROUGH.sample(500, torch.Generator().manual_seed(0))
        fitted = _refit(ROUGH, samples)
        mean = samples.sum(dim=0) / 524
        torch.testing.assert_close(fitted.means[0], mean)
        second = (samples.T @ samples + 24 * ROUGH.covariances[0]) / 524
        torch.testing.assert_close(fitted.covariances[0], second - torch.outer(mean, mean))

    def test_samples_of_the_mixture_do_not_change_it(self) -> None:
        fitted = _refit(FIELD, FIELD.sample(100_000, torch.Generator().manual_seed(0)))
        assert (fitted.weights - FIELD.weights).abs().max() < 0.01
        assert (fitted.means - FIELD.means).abs().max() < 0.01
        difference = fitted.covariances - FIELD.covariances
        assert float(difference.norm() / FIELD.covariances.norm()) < 0.02

    def test_a_component_without_samples_stays(self) -> None:
        first = GaussianMixture(
            torch.ones(1, dtype=torch.float64), FIELD.means[:1], FIELD.covariances[:1]
        )
        fitted = _refit(FIELD, first.sample(3000, torch.Generator().manual_seed(0)))
        assert fitted.weights[0] > 0.95
        assert (torch.linalg.eigvalsh(fitted.covariances) > 1e-3).all()


class TestMistakes:
    @pytest.mark.parametrize(
        "numbers", [{"tasks_per_kind": 0}, {"sources": 0}, {"draws": 1}, {"seed": -1}]
    )
    def test_numbers_out_of_range(
        self, config: Callable[..., Config], numbers: dict[str, int]
    ) -> None:
        with pytest.raises(OracleError, match="at least 1, draws at least 2 and seed at least 0"):
            measure(Perfect(config()), **numbers)

    def test_a_model_of_images(self, tiny_config: Callable[..., Config]) -> None:
        with pytest.raises(OracleError, match=r"Gaussian fields only.*a model of digits"):
            measure(BigLearnGAN(tiny_config()))

    def test_a_field_of_another_size(self, config: Callable[..., Config]) -> None:
        with pytest.raises(OracleError, match=r"4 x 6 pixels needs a field of 24 .*, not 64"):
            measure(Perfect(config()), gaussian_field("mixture", (8, 8)))

    def test_a_joint_model_of_other_patches_or_of_another_field(
        self, config: Callable[..., Config]
    ) -> None:
        patches = Perfect(config({"model.patch_size": 1}))
        with pytest.raises(
            OracleError, match=r"_mixture in patches of 2, but the joint model is .* patches of 1"
        ):
            measure(Perfect(config()), joint_model=patches)
        field = Perfect(config({"data.name": "gaussian_field_rough"}))
        with pytest.raises(
            OracleError, match=r"_mixture in .*, but the joint model is of gaussian_field_rough"
        ):
            measure(Perfect(config()), joint_model=field)

    def test_a_joint_model_of_other_tasks(self, config: Callable[..., Config]) -> None:
        with pytest.raises(OracleError, match="joint task only, not with scattered, box, outside"):
            measure(Perfect(config()), joint_model=Perfect(config()))

    def test_a_joint_model_of_images(
        self, config: Callable[..., Config], tiny_config: Callable[..., Config]
    ) -> None:
        with pytest.raises(OracleError, match="a model of digits"):
            measure(Perfect(config()), joint_model=Perfect(tiny_config()))
