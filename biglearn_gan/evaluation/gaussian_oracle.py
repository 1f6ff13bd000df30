"""Compare a model of a Gaussian field with the exact conditionals, for every kind of task.

The floor of every error is the same error of as many exact draws, given the same sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan.config.task_presets import PRESETS, task_components
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.gaussian_tasks import (
    FieldModel,
    FieldTask,
    complete_fields,
    draw_field_task,
    draw_fields,
    field_tokens,
    make_joint_field_task,
)
from biglearn_gan.evaluation.records import Record
from biglearn_gan.gaussian_mixture import GaussianMixture
from biglearn_gan.progress import TaskProgress
from biglearn_gan.rng import Stream, make_rng

KINDS = PRESETS["big"]
"""The kinds of task that are measured: the components of the ``big`` preset."""

CRITIC_FIT = 2048
"""Samples of the model per task, to which the approximate density is fitted."""

CRITIC_REAL = 1024
"""Real images per task on which the critic is scored."""

Average = Callable[[Sequence[float]], tuple[float, float | None]]
"""An average over tasks, with its standard error."""


class OracleError(UsageError):
    """The oracle cannot measure this."""


def evaluate_oracle(
    model: FieldModel,
    field: GaussianMixture,
    *,
    seed: int,
    tasks_per_kind: int = 4,
    sources: int = 32,
    draws: int = 256,
    joint_model: FieldModel | None = None,
    progress: TaskProgress = lambda task, done, total: None,
) -> list[Record]:
    """Measure a model on each component of the ``big`` tasks, exactly alike for the same arguments.

    For each kind of task, ``tasks_per_kind`` pairs (S, T) of tokens are drawn, for each of them
    ``sources`` fresh fields, and for each field ``draws`` completions. ``mean-error``,
    ``covariance-error`` and, of a field of several components, ``mode-error`` compare the target's
    pixels with the exact conditional, see :func:`_measure_errors`.

    Two baselines have the same errors for every kind that has a source. The subject
    ``unconditional`` takes the target's pixels from unconditional samples of the model, whatever
    the source is. The subject ``joint-only`` takes them from conditional draws of ``joint_model``.

    If the critic's scores are absolute, ``critic-correlation`` compares its logit with an
    approximate log density ratio, see ``_OracleEvaluator._correlate_critic``.

    Args:
        model: a model of the field; its critic is measured if its scores are absolute.
        field: the exact distribution of the data, see
            :func:`biglearn_gan.data.gaussian_fields.gaussian_field`.
        seed: at least 0; of tasks, sources and draws.
        tasks_per_kind: at least 1; standard errors are over tasks, and None for one task.
        sources: at least 1.
        draws: at least 2.
        joint_model: a model of the same field and patch size, trained with the joint task only.
        progress: called with (kind, images done, images of this kind).

    Raises:
        OracleError: a number is out of range, a model is of another kind or size, or the joint
            model was trained with other tasks as well.
    """
    if tasks_per_kind < 1 or sources < 1 or draws < 2 or seed < 0:
        raise OracleError(
            "tasks_per_kind and sources must be at least 1, draws at least 2 and seed at least 0, "
            f"not {tasks_per_kind}, {sources}, {draws} and {seed}"
        )
    _check_model(model, field)
    if joint_model is not None:
        _check_model(joint_model, field)
        _check_joint_model(joint_model, model)
    evaluator = _OracleEvaluator(model, field, joint_model, seed, tasks_per_kind, sources, draws)
    records: list[Record] = []
    for index in range(len(KINDS)):
        records += evaluator.evaluate_kind(index, progress)
    return records


def _check_model(model: FieldModel, field: GaussianMixture) -> None:
    data = model.config.data
    if data.gaussian_field is None:
        raise OracleError(
            f"the oracle knows Gaussian fields only, and this is a model of {data.name}"
        )
    height, width = data.image_size
    if height * width != field.dimension:
        raise OracleError(
            f"a model of {height} x {width} pixels needs a field of {height * width} coordinates, "
            f"not {field.dimension}"
        )


def _check_joint_model(joint_model: FieldModel, model: FieldModel) -> None:
    ours, theirs = (
        f"{each.config.data.name} in patches of {each.config.model.patch_size}"
        for each in (model, joint_model)
    )
    if ours != theirs:
        raise OracleError(f"the model is of {ours}, but the joint model is of {theirs}")
    others = [
        task.name
        for task in task_components(joint_model.config.tasks)
        if {task.union.pattern, task.target.pattern} != {"everything"}
    ]
    if others:
        raise OracleError(
            "the joint model must be trained with the joint task only, not with "
            f"{', '.join(others)}"
        )


@dataclass(frozen=True)
class _OracleEvaluator:
    """Measures one kind of task after another with the same numbers of tasks, sources and draws."""

    model: FieldModel
    field: GaussianMixture
    joint_model: FieldModel | None
    seed: int
    tasks_per_kind: int
    sources: int
    draws: int

    def evaluate_kind(self, index: int, progress: TaskProgress) -> list[Record]:
        """All records of the kind ``KINDS[index]``."""
        kind = KINDS[index]
        total = self.tasks_per_kind * self.sources * self.draws
        errors: dict[str | None, list[_DrawErrors]] = {}
        correlations: list[tuple[float, float]] = []
        progress(kind.name, 0, total)
        for number in range(self.tasks_per_kind):
            rng = make_rng(Stream.ORACLE, self.seed, index, number)
            task = draw_field_task(self.model.config, self.field, kind, rng)
            fields = draw_fields(self.field, self.sources, rng)
            source_values = fields[:, task.source]
            first_image = (index * self.tasks_per_kind + number) * self.sources
            draws: dict[str | None, Float64[Tensor, "N K t"]] = {
                "exact": task.exact.sample(source_values, self.draws, rng),
                None: self._complete(self.model, fields, task, first_image),
            }
            if kind.target.pattern != "everything":
                draws["unconditional"] = self._unconditional[..., task.target]
                if self.joint_model is not None:
                    draws["joint-only"] = self._complete(
                        self.joint_model, fields, task, first_image
                    )
            for subject, values in draws.items():
                errors.setdefault(subject, []).append(_measure_errors(values, task, source_values))
            if self.model.config.absolute_scores:
                first_fit = self._all_sources + self.sources
                first_fit += (index * self.tasks_per_kind + number) * CRITIC_FIT
                correlations.append(self._correlate_critic(task, first_fit, rng))
            progress(kind.name, (number + 1) * self.sources * self.draws, total)
        records = self._error_records(kind.name, errors)
        if correlations:
            records.append(self._critic_record(kind.name, correlations))
        return records

    @property
    def _all_sources(self) -> int:
        """Sources of all tasks; each is an image of its own, so that no two share noise."""
        return len(KINDS) * self.tasks_per_kind * self.sources

    @cached_property
    def _unconditional(self) -> Float64[Tensor, "N K D"]:
        """As many unconditional samples as one task has completions."""
        task = make_joint_field_task(self.model.config, self.field)
        blank = torch.zeros(self.sources, self.field.dimension, dtype=torch.float64)
        return self._complete(self.model, blank, task, self._all_sources)

    def _complete(
        self,
        model: FieldModel,
        fields: Float64[Tensor, "N D"],
        task: FieldTask,
        first_image: int,
    ) -> Float64[Tensor, "N K t"]:
        return complete_fields(model, fields, task, self.draws, self.seed, first_image)

    def _error_records(
        self, kind: str, errors: dict[str | None, list[_DrawErrors]]
    ) -> list[Record]:
        exact = errors.pop("exact")
        statistics: list[tuple[str, Callable[[_DrawErrors], float], Average]] = [
            ("mean-error", lambda each: each.mean_square, _root_of_mean),
            ("covariance-error", lambda each: each.covariance_square, _root_of_mean),
        ]
        if len(self.field.weights) > 1:
            statistics.append(("mode-error", lambda each: each.mode, _mean))
        records = []
        for measure, get, average in statistics:
            floor, _ = average([get(each) for each in exact])
            for subject, per_task in errors.items():
                value, error = average([get(each) for each in per_task])
                records.append(
                    Record(
                        measure=measure,
                        features="oracle",
                        count=self.tasks_per_kind * self.sources,
                        split=None,
                        task=kind,
                        subject=subject,
                        value=value,
                        error=error,
                        floor=floor,
                        ceiling=None,
                        samples=self.tasks_per_kind * self.sources * self.draws,
                        seed=self.seed,
                    )
                )
        return records

    def _critic_record(self, kind: str, correlations: list[tuple[float, float]]) -> Record:
        values, ceilings = zip(*correlations, strict=True)
        value, error = _mean(values)
        return Record(
            measure="critic-correlation",
            features="approximate",
            count=self.tasks_per_kind * CRITIC_REAL,
            split=None,
            task=kind,
            subject=None,
            value=value,
            error=error,
            floor=None,
            ceiling=_mean(ceilings)[0],
            samples=self.tasks_per_kind * CRITIC_FIT,
            seed=self.seed,
        )

    def _correlate_critic(
        self, task: FieldTask, first_image: int, rng: torch.Generator
    ) -> tuple[float, float]:
        """The critic's correlation with an approximate log density ratio, and its ceiling.

        This is the Pearson correlation, over real x, of the logit f(x; S, T) with
        log q(x_T | x_S) - log p̂(x_T | x_S). The density p of the model is not known. p̂ comes from
        two mixtures with as many Gaussians as the field has, which are fitted to two halves of
        ``CRITIC_FIT`` samples (x_S real, x_T generated), see :func:`_refit`; log p̂ is the mean of
        both. What the mixtures cannot express lowers the value. So does that the critic was trained
        against the live generator, whereas the samples come from its average.

        The ceiling is what the noise of the fit leaves to a perfect critic. The noiseless ratio
        would correlate with log q - log p̂ by the square root of its reliability, 2 r / (1 + r) for
        halves that correlate by r (Spearman 1910, Brown 1910). A model close to the data has a
        ratio close to 0, and so a low ceiling.
        """
        pixels = torch.cat([task.target, task.source])
        joint, split = self.field.marginal(pixels), len(task.target)
        fields = draw_fields(self.field, CRITIC_FIT, rng)
        drawn = complete_fields(self.model, fields, task, 1, self.seed, first_image)[:, 0]
        samples = torch.cat([drawn, fields[:, task.source]], dim=1)
        real = draw_fields(self.field, CRITIC_REAL, rng)
        x_target, x_source = real[:, task.target], real[:, task.source]
        exact = task.exact.log_density(x_target, x_source)
        target, source = range(split), range(split, len(pixels))
        first, second = (
            exact - _refit(joint, half).conditional(target, source).log_density(x_target, x_source)
            for half in samples.chunk(2)
        )
        agreement = max(_correlation(first, second), 0.0)
        tokens = field_tokens(self.model.config, real)
        logits = self.model.critic_logits(tokens, task.masks(len(real))).double()
        return _correlation(logits, first + second), math.sqrt(2 * agreement / (1 + agreement))


@dataclass(frozen=True)
class _DrawErrors:
    """Errors of the draws of one task, averaged over sources."""

    mean_square: float
    covariance_square: float
    mode: float


def _measure_errors(
    draws: Float64[Tensor, "N K t"], task: FieldTask, source_values: Float64[Tensor, "N s"]
) -> _DrawErrors:
    """Compare draws with the exact conditional, in units of its standard deviations.

    - ``mean_square``: squared difference of the mean of a source's draws, averaged over pixels;
    - ``covariance_square``: ‖Ĉ - C‖² / ‖C‖² (Frobenius) of the covariance of a source's draws;
    - ``mode``: total variation between the components' weights p(k | x_S) and the mean of
      p(k | x_S, x_T) over the draws, which is p(k | x_S) for exact draws.
    """
    exact_mean, exact = task.exact.mean(source_values), task.exact.covariance(source_values)
    variance = exact.diagonal(dim1=1, dim2=2)  # (N, t)
    mean = draws.mean(dim=1)
    deviation = variance.sqrt()
    correlation = exact / (deviation[:, :, None] * deviation[:, None])
    white = (draws - mean[:, None]) / deviation[:, None]
    covariance = white.mT @ white / (draws.shape[1] - 1)  # (N, t, t)
    squares = (covariance - correlation).square().sum(dim=(1, 2))
    squares = squares / correlation.square().sum(dim=(1, 2))
    shares = task.exact.responsibilities(draws, source_values).mean(dim=1)  # (N, K)
    weights = task.exact.weights(source_values)
    return _DrawErrors(
        float(((mean - exact_mean).square() / variance).mean()),
        float(squares.mean()),
        float((shares - weights).abs().sum(dim=1).mean() / 2),
    )


def _refit(initial: GaussianMixture, samples: Float64[Tensor, "N D"]) -> GaussianMixture:
    """One step of expectation maximization from ``initial`` toward the samples.

    For one component, the result has nearly the mean and covariance of the samples. D samples of
    each component itself are counted as well, so that a component without samples stays definite.
    """
    explained = initial.weights.log() + initial.component_log_densities(samples)
    shares = explained.softmax(dim=1)  # (N, K)
    prior_count = initial.dimension
    counts = shares.sum(dim=0) + prior_count  # (K,)
    means = (shares.T @ samples + prior_count * initial.means) / counts[:, None]
    centered = samples[:, None] - means  # (N, K, D)
    scatter = torch.einsum("nk,nkd,nke->kde", shares, centered, centered)
    shift = initial.means - means
    scatter = scatter + prior_count * (initial.covariances + shift[:, :, None] * shift[:, None])
    return GaussianMixture(counts / counts.sum(), means, scatter / counts[:, None, None])


def _correlation(a: Float64[Tensor, " N"], b: Float64[Tensor, " N"]) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error, None for one value."""
    numbers = torch.tensor(values, dtype=torch.float64)
    if len(numbers) == 1:
        return float(numbers), None
    return float(numbers.mean()), float(numbers.std()) / math.sqrt(len(numbers))


def _root_of_mean(squares: Sequence[float]) -> tuple[float, float | None]:
    """The root of the mean, and its standard error to first order."""
    mean, error = _mean(squares)
    root = math.sqrt(mean)
    return root, None if error is None else error / (2 * root)
