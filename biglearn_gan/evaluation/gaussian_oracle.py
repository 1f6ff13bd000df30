"""A model of a Gaussian field against the exact conditionals, for every kind of task.

Every error stands beside its floor: the same statistic of as many perfect draws, from the exact
conditional given the same sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from biglearn_gan.config import Config, TaskComponent
from biglearn_gan.config.task_presets import PRESETS, task_components
from biglearn_gan.errors import UsageError
from biglearn_gan.evaluation.records import Record
from biglearn_gan.gaussian_mixture import ConditionalMixture, GaussianMixture
from biglearn_gan.progress import TaskProgress
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.patches import patchify, pixels_of_tokens, unpatchify
from biglearn_gan.tasks.sampler import TaskSampler
from biglearn_gan.tasks.token_masks import TokenMasks

KINDS = PRESETS["big"]
"""The kinds of task that are measured, the components of the mixture of big learning."""

CRITIC_FIT = 2048
"""Samples of the model for each mask, from which the critic's approximate yardstick is fitted."""

CRITIC_REAL = 1024
"""Real images for each mask on which the critic is read."""


Average = Callable[[Sequence[float]], tuple[float, float | None]]
"""Of values of all masks, with its standard error."""


class OracleError(UsageError):
    """Something is asked that the oracle cannot answer, in one sentence."""


@runtime_checkable
class FieldModel(Protocol):
    """What is measured; ``BigLearnGAN`` is one."""

    @property
    def config(self) -> Config: ...

    def generate(
        self,
        tokens: Float[Tensor, "N L P"],
        masks: TokenMasks,
        *,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Float[Tensor, "N K L P"]: ...

    def critic_logits(
        self, tokens: Float[Tensor, "N L P"], masks: TokenMasks
    ) -> Float[Tensor, " N"]: ...


def evaluate_oracle(
    model: FieldModel,
    field: GaussianMixture,
    *,
    seed: int,
    masks_per_kind: int = 4,
    sources: int = 32,
    draws: int = 256,
    joint_model: FieldModel | None = None,
    progress: TaskProgress | None = None,
) -> list[Record]:
    """Measure a model on each component of the ``big`` tasks; the same arguments, the same bits.

    For each kind ``masks_per_kind`` pairs (S, T) of tokens are drawn, for each of them ``sources``
    fresh fields, and for each of these ``draws`` completions. Over the target's pixels,

    - ``mean_error_oracle``: root mean square, over masks, sources and pixels, of the difference of
      the draws' mean and the exact conditional mean, in exact conditional standard deviations;
    - ``covariance_error_oracle``: root mean square, over masks and sources, of ‖Ĉ - C‖ / ‖C‖
      (Frobenius), where Ĉ is the covariance of one source's draws and C the exact conditional's of
      that source, both in units of the exact conditional standard deviations;
    - ``mode_error_oracle``, of a field of several components: total variation between their
      weights given the source, p(k | x_S), and the mean over the draws of p(k | x_S, x_T), which
      for exact draws is p(k | x_S); averaged over masks and sources.

    The same with ``_pasted_unconditional`` are of unconditional samples of the model, of which
    the target's pixels are kept whatever the source, and with ``_joint_only`` of the conditional
    draws of ``joint_model``; both only for kinds that have a source.

    Where the critic's scores are absolute, ``critic_correlation_approximate`` is the Pearson
    correlation, over real x and averaged over masks, of its logit f(x; S, T) with
    log q(x_T | x_S) - log p̂(x_T | x_S). The model's density p is not known: p̂ is a mixture of as
    many Gaussians as the field has, fitted to ``CRITIC_FIT`` samples of the model. The ceiling is
    what the noise of that fit leaves to a perfect critic; what the mixture cannot express lowers
    the value further. And the critic has played against the live generator, whereas the samples
    are of its average, so even a perfect critic scores another density ratio.

    Args:
        model: a model of the field; its critic is measured if its scores are absolute.
        field: the exact law of the data, see :func:`biglearn_gan.data.gaussian_fields.gaussian_field`.
        seed: at least 0; of masks, sources and draws.
        masks_per_kind: at least 1; standard errors are over masks, and None for one.
        sources: at least 1.
        draws: at least 2.
        joint_model: a model of the same field and patch size, trained with the joint task only.
        progress: called with (kind, images done, images of this kind).

    Raises:
        OracleError: a number is out of range, a model is not one of this field, or the joint model
            was trained with other tasks, too.
    """
    if masks_per_kind < 1 or sources < 1 or draws < 2 or seed < 0:
        raise OracleError(
            "masks_per_kind and sources must be at least 1, draws at least 2 and seed at least 0, "
            f"not {masks_per_kind}, {sources}, {draws} and {seed}"
        )
    _check_model(model, field)
    if joint_model is not None:
        _check_model(joint_model, field)
        ours, theirs = (
            f"{each.config.data.name} in patches of {each.config.model.patch_size}"
            for each in (model, joint_model)
        )
        if ours != theirs:
            raise OracleError(f"the models are of {ours} and of {theirs}, not of the same")
        others = [
            task.name
            for task in task_components(joint_model.config.tasks)
            if {task.union.pattern, task.target.pattern} != {"everything"}
        ]
        if others:
            raise OracleError(
                "the joint model must have been trained with the joint task only, not with "
                f"{', '.join(others)}"
            )
    bench = _Bench(model, field, joint_model, seed, masks_per_kind, sources, draws)
    unconditional = _draw_unconditionally(bench)
    records: list[Record] = []
    for number in range(len(KINDS)):
        report = progress or (lambda task, done, total: None)
        records += _kind_records(bench, number, unconditional, report)
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


@dataclass(frozen=True)
class _Bench:
    """What all kinds share."""

    model: FieldModel
    field: GaussianMixture
    joint_model: FieldModel | None
    seed: int
    masks: int
    sources: int
    draws: int

    def first_image(self, number: int, mask: int) -> int:
        """Each question's sources are images of their own, so that no two share their noise."""
        return (number * self.masks + mask) * self.sources

    @property
    def images(self) -> int:
        """All sources of all questions."""
        return len(KINDS) * self.masks * self.sources


@dataclass(frozen=True)
class _Question:
    """One pair (S, T): its tokens and pixels, and the exact answer."""

    source_tokens: Bool[Tensor, "1 L"]
    target_tokens: Bool[Tensor, "1 L"]
    source: Int64[Tensor, " s"]
    target: Int64[Tensor, " t"]
    exact: ConditionalMixture

    def masks(self, rows: int) -> TokenMasks:
        """The same task in every row."""
        return TokenMasks(self.source_tokens.expand(rows, -1), self.target_tokens.expand(rows, -1))


@dataclass(frozen=True)
class _Errors:
    """The statistics of one question's draws, averaged over sources."""

    mean_square: float
    covariance_square: float
    mode: float


def _kind_records(
    bench: _Bench, number: int, unconditional: Float64[Tensor, "N K D"], progress: TaskProgress
) -> list[Record]:
    kind = KINDS[number]
    total = bench.masks * bench.sources * bench.draws
    errors: dict[str, list[_Errors]] = {}
    correlations: list[tuple[float, float]] = []
    progress(kind.name, 0, total)
    for mask in range(bench.masks):
        rng = make_rng(Stream.ORACLE, bench.seed, number, mask)
        question = _ask(bench, kind, rng)
        fields = _draw_fields(bench, bench.sources, rng)
        given = fields[:, question.source]
        first_image = bench.first_image(number, mask)
        answers = {
            "floor": question.exact.sample(given, bench.draws, rng),
            "": _complete(bench.model, fields, question, bench.draws, bench.seed, first_image),
        }
        if kind.target.pattern != "everything":
            answers["_pasted_unconditional"] = unconditional[..., question.target]
            if bench.joint_model is not None:
                answers["_joint_only"] = _complete(
                    bench.joint_model, fields, question, bench.draws, bench.seed, first_image
                )
        for name, drawn in answers.items():
            errors.setdefault(name, []).append(_errors(drawn, question, given))
        if bench.model.config.absolute_scores:
            first_fit = bench.images + bench.sources + (number * bench.masks + mask) * CRITIC_FIT
            correlations.append(_critic_correlation(bench, question, first_fit, rng))
        progress(kind.name, (mask + 1) * bench.sources * bench.draws, total)

    def record(
        metric: str,
        value: tuple[float, float | None],
        samples: int,
        floor: float | None = None,
        ceiling: float | None = None,
    ) -> Record:
        return Record(metric, kind.name, *value, floor, ceiling, samples, bench.seed)

    records = []
    floors = errors.pop("floor")
    statistics: list[tuple[str, str, Average]] = [
        ("mean_error", "mean_square", _root_of_mean),
        ("covariance_error", "covariance_square", _root_of_mean),
    ]
    if len(bench.field.weights) > 1:
        statistics.append(("mode_error", "mode", _mean))
    for statistic, name_of, average in statistics:
        floor, _ = average([getattr(each, name_of) for each in floors])
        for name, found in errors.items():
            value = average([getattr(each, name_of) for each in found])
            records.append(record(f"{statistic}_oracle{name}", value, total, floor=floor))
    if correlations:
        values, ceilings = zip(*correlations, strict=True)
        samples, (ceiling, _) = bench.masks * CRITIC_FIT, _mean(ceilings)
        name = "critic_correlation_approximate"
        records.append(record(name, _mean(values), samples, ceiling=ceiling))
    return records


def _ask(bench: _Bench, kind: TaskComponent, rng: torch.Generator) -> _Question:
    """Draw one task of a kind."""
    grid_size, patch_size = bench.model.config.grid_size, bench.model.config.model.patch_size
    everything = torch.ones(1, bench.model.config.token_count, dtype=torch.bool)
    masks = TaskSampler([kind], grid_size).sample(everything, rng).masks
    source, target = (
        pixels_of_tokens(tokens, grid_size, patch_size).flatten().nonzero()[:, 0]
        for tokens in (masks.source, masks.target)
    )
    exact = bench.field.conditional(target, source)
    return _Question(masks.source, masks.target, source, target, exact)


def _draw_fields(bench: _Bench, count: int, rng: torch.Generator) -> Float64[Tensor, "N D"]:
    """Fields of numbers that float32 holds, so that the model is given what the oracle is."""
    return bench.field.sample(count, rng).float().double()


def _draw_unconditionally(bench: _Bench) -> Float64[Tensor, "N K D"]:
    """Whole fields from nothing, as many as there are completions of one question."""
    everything = torch.ones(1, bench.model.config.token_count, dtype=torch.bool)
    pixels, nothing = torch.arange(bench.field.dimension), torch.empty(0, dtype=torch.int64)
    exact = bench.field.conditional(pixels, nothing)
    question = _Question(~everything, everything, nothing, pixels, exact)
    blank = torch.zeros(bench.sources, bench.field.dimension, dtype=torch.float64)
    return _complete(bench.model, blank, question, bench.draws, bench.seed, bench.images)


def _complete(
    model: FieldModel,
    fields: Float64[Tensor, "N D"],
    question: _Question,
    draws: int,
    seed: int,
    first_image: int,
) -> Float64[Tensor, "N K t"]:
    """The target's pixels as the model draws them, given the source's of each field."""
    config = model.config
    drawn = model.generate(
        _tokens(config, fields),
        question.masks(len(fields)),
        variations=draws,
        seed=seed,
        first_image=first_image,
    )  # (N, K, L, P)
    images = unpatchify(drawn.flatten(0, 1), config.grid_size, config.model.patch_size)
    return images.double().view(len(fields), draws, -1)[..., question.target]


def _tokens(config: Config, fields: Float64[Tensor, "N D"]) -> Float[Tensor, "N L P"]:
    images = fields.float().view(len(fields), 1, *config.data.image_size)
    return patchify(images, config.model.patch_size)


def _errors(
    drawn: Float64[Tensor, "N K t"], question: _Question, given: Float64[Tensor, "N s"]
) -> _Errors:
    exact_mean, exact = question.exact.mean(given), question.exact.covariance(given)
    variance = exact.diagonal(dim1=1, dim2=2)  # (N, t)
    mean = drawn.mean(dim=1)
    deviation = variance.sqrt()
    correlation = exact / (deviation[:, :, None] * deviation[:, None])
    white = (drawn - mean[:, None]) / deviation[:, None]
    found = white.mT @ white / (drawn.shape[1] - 1)  # (N, t, t)
    squares = (found - correlation).square().sum(dim=(1, 2)) / correlation.square().sum(dim=(1, 2))
    shares = question.exact.responsibilities(drawn, given).mean(dim=1)  # (N, K)
    weights = question.exact.weights(given)
    return _Errors(
        float(((mean - exact_mean).square() / variance).mean()),
        float(squares.mean()),
        float((shares - weights).abs().sum(dim=1).mean() / 2),
    )


def _critic_correlation(
    bench: _Bench, question: _Question, first_image: int, rng: torch.Generator
) -> tuple[float, float]:
    """The critic's correlation with an approximate log density ratio, and its ceiling.

    Two mixtures are fitted to two halves of the samples (x_S real, x_T generated), see
    :func:`_refit`, and log p̂ is the mean of both. How well their ratios agree says how much of the
    yardstick is noise: the noiseless ratio would correlate with it by the square root of its
    reliability, 2 r / (1 + r) for halves that correlate by r (Spearman 1910, Brown 1910). A model
    close to the data has a ratio close to 0, and so a low ceiling.
    """
    pixels = torch.cat([question.target, question.source])
    law, split = bench.field.marginal(pixels), len(question.target)
    fields = _draw_fields(bench, CRITIC_FIT, rng)
    drawn = _complete(bench.model, fields, question, 1, bench.seed, first_image)[:, 0]
    samples = torch.cat([drawn, fields[:, question.source]], dim=1)
    real = _draw_fields(bench, CRITIC_REAL, rng)
    x_target, x_source = real[:, question.target], real[:, question.source]
    exact = question.exact.log_density(x_target, x_source)
    target, source = range(split), range(split, len(pixels))
    first, second = (
        exact - _refit(law, half).conditional(target, source).log_density(x_target, x_source)
        for half in samples.chunk(2)
    )
    agreement = max(_correlation(first, second), 0.0)
    tokens = _tokens(bench.model.config, real)
    logits = bench.model.critic_logits(tokens, question.masks(len(real))).double()
    return _correlation(logits, first + second), math.sqrt(2 * agreement / (1 + agreement))


def _refit(law: GaussianMixture, samples: Float64[Tensor, "N D"]) -> GaussianMixture:
    """One step of expectation maximization from ``law`` toward the samples.

    For a law of one component these are the samples' own mean and covariance, but that D samples
    of each component itself are counted in, which keeps a component definite that nobody drew.
    """
    explained = law.weights.log() + law.component_log_densities(samples)
    shares = explained.softmax(dim=1)  # (N, K)
    prior = law.dimension
    counts = shares.sum(dim=0) + prior  # (K,)
    means = (shares.T @ samples + prior * law.means) / counts[:, None]
    centered = samples[:, None] - means  # (N, K, D)
    scatter = torch.einsum("nk,nkd,nke->kde", shares, centered, centered)
    shift = law.means - means
    scatter = scatter + prior * (law.covariances + shift[:, :, None] * shift[:, None])
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
