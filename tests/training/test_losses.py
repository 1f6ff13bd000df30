"""Every loss against values by hand, closed forms, and properties that theory predicts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from biglearn_gan.training import losses

REAL = torch.tensor([0.0, 2.0, -1.0])
FAKE = torch.tensor([0.0, -1.0, 3.0])
B, M, P = 3, 5, 7
SIGMA = 0.05


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def is_target() -> Tensor:
    return torch.tensor(
        [
            [True, False, False, True, False],
            [False, True, False, False, False],
            [True, True, True, True, True],
        ]
    )


def test_logistic_by_hand() -> None:
    """log 2 for each undecided logit; σ(2) = 0.880797 of a real, σ(-(-1)) = 0.731059 of a fake."""
    expected = [2 * math.log(2), 0.126928 + 0.313262, 1.313262 + 3.048587]
    by_hand = losses.logistic_discriminator(REAL, FAKE)
    torch.testing.assert_close(by_hand, torch.tensor(expected), rtol=0, atol=2e-6)
    expected = [math.log(2), 1.313262, 0.048587]
    torch.testing.assert_close(
        losses.logistic_generator(FAKE), torch.tensor(expected), rtol=0, atol=2e-6
    )


def test_relativistic_by_hand() -> None:
    """The logits' differences real - fake are 0, 3 and -4."""
    expected = torch.tensor([math.log(2), 0.048587, 4.018150])
    by_hand = losses.relativistic_discriminator(REAL, FAKE)
    torch.testing.assert_close(by_hand, expected, rtol=0, atol=2e-6)
    expected = torch.tensor([math.log(2), 3.048587, 0.018150])
    by_hand = losses.relativistic_generator(REAL, FAKE)
    torch.testing.assert_close(by_hand, expected, rtol=0, atol=2e-6)


def test_logit_centering_by_hand() -> None:
    """The squared sums of the logits; it is 0 where a real and a fake have opposite logits."""
    real, fake = torch.tensor([0.5, 2.0, -3.0]), torch.tensor([0.5, -2.0, 1.0])
    by_hand = losses.logit_centering(real, fake)
    torch.testing.assert_close(by_hand, torch.tensor([1.0, 0.0, 4.0]))


def test_communication_by_hand() -> None:
    """Four different values, each in its place; log σ(0.75) + log σ(-3) = -0.386 - 3.049."""
    first_on_first, second_on_first = 0.5, 1.25
    first_on_second, second_on_second = -2.0, 1.0
    expected = math.log(sigmoid(1.25 - 0.5)) + math.log(sigmoid(-2.0 - 1.0))
    by_hand = losses.communication(
        *(
            torch.tensor([value])
            for value in (
                first_on_first,
                second_on_first,
                first_on_second,
                second_on_second,
            )
        )
    )
    torch.testing.assert_close(by_hand, torch.tensor([expected]))


def test_extreme_logits_stay_finite() -> None:
    extreme = torch.tensor([1e4, -1e4])
    for value in (
        losses.logistic_discriminator(extreme, -extreme),
        losses.logistic_generator(extreme),
        losses.relativistic_discriminator(extreme, -extreme),
        losses.relativistic_generator(extreme, -extreme),
        losses.communication(extreme, -extreme, extreme, -extreme),
    ):
        assert value.isfinite().all()


@pytest.mark.parametrize("by", [1.0, 200.0], ids=["near", "far"])
def test_gradients_of_the_discriminators_loss_become_those_of_the_generators(by: float) -> None:
    """Of critics <w, x> whose logits lie so far apart that a slope underflows, none, but no NaN."""
    weights, x = torch.randn(3, M, P), torch.randn(3, M, P, requires_grad=True)
    real = torch.tensor([0.0, by, -by])

    def slopes(loss: Callable[[Tensor], Tensor]) -> Tensor:
        (gradient,) = torch.autograd.grad(loss((weights * x).sum(dim=(1, 2))).mean(), x)
        return gradient

    def of_discriminator(fake: Tensor) -> Tensor:
        return losses.relativistic_discriminator(real, fake)

    def of_generator(fake: Tensor) -> Tensor:
        return losses.relativistic_generator(real, fake)

    fake = (weights * x).sum(dim=(1, 2))
    ours = losses.generator_gradients(
        slopes(of_discriminator), of_discriminator, of_generator, fake
    )
    seen = slopes(of_discriminator).abs().sum(dim=(1, 2)) > 0
    assert seen.tolist() == [True, by < 100, True]
    torch.testing.assert_close(ours[seen], slopes(of_generator)[seen])
    assert (ours[~seen] == 0).all()


PAIRED: list[Callable[[Tensor, Tensor], Tensor]] = [
    losses.logistic_discriminator,
    losses.relativistic_discriminator,
    losses.relativistic_generator,
    losses.logit_centering,
    lambda a, b: losses.communication(a, a, a, b),
    lambda a, b: losses.communication(a, b, a, a),
    lambda a, b: losses.communication(a, a, b, a),
    lambda a, b: losses.communication(b, a, a, a),
    lambda a, b: losses.finite_difference_penalty(a, b, SIGMA),
]


@pytest.mark.parametrize("loss", PAIRED)
def test_logits_of_unequal_shapes_are_refused(
    unchecked: None, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    for first, second in (
        (torch.zeros(3), torch.zeros(3, 1)),
        (torch.zeros(3), torch.zeros(1)),
        (torch.zeros(3, 1), torch.zeros(3, 1)),
        (torch.tensor(0.0), torch.tensor(0.0)),
    ):
        with pytest.raises(ValueError, match=r"one shape \(B,\)") as caught:
            loss(first, second)
        assert str(tuple(first.shape)) in str(caught.value)
        assert str(tuple(second.shape)) in str(caught.value)


# Gradient penalties


def test_exact_penalty_of_a_linear_critic(is_target: Tensor) -> None:
    """f(x) = <w, x> has the gradient w; of it, only the target's pixels count."""
    weights = torch.randn(B, M, P)
    tokens = torch.randn(B, M, P, requires_grad=True)
    penalty = losses.exact_penalty((weights * tokens).sum(dim=(1, 2)), tokens, is_target[..., None])
    expected = [0.5 * float(weights[row][is_target[row]].square().sum()) for row in range(B)]
    torch.testing.assert_close(penalty, torch.tensor(expected))
    everywhere = 0.5 * weights.square().sum(dim=(1, 2))
    assert (penalty[:2] < everywhere[:2]).all()
    torch.testing.assert_close(penalty[2], everywhere[2])


def test_exact_penalty_of_a_quadratic_critic_and_its_derivative(is_target: Tensor) -> None:
    """f(x) = a/2 ‖x‖² has the gradient a x, so the penalty is a²/2 ‖x_T‖², and a ‖x_T‖² by a."""
    a = torch.tensor(1.7, requires_grad=True)
    tokens = torch.randn(B, M, P, requires_grad=True)
    logits = a / 2 * tokens.square().sum(dim=(1, 2))
    penalty = losses.exact_penalty(logits, tokens, is_target[..., None])
    squares = torch.stack([tokens[row][is_target[row]].square().sum() for row in range(B)])
    torch.testing.assert_close(penalty, 1.7**2 / 2 * squares)
    (by_a,) = torch.autograd.grad(penalty.sum(), a)
    torch.testing.assert_close(by_a, 1.7 * squares.sum())


def test_only_targets_are_perturbed(is_target: Tensor) -> None:
    tokens, noise = torch.randn(B, M, P), torch.randn(B, M, P)
    moved = losses.perturb_targets(tokens, is_target[..., None], noise, SIGMA)
    assert torch.equal(moved[~is_target], tokens[~is_target])
    torch.testing.assert_close(
        moved[is_target], tokens[is_target] + SIGMA * noise[is_target], rtol=0, atol=0
    )


def test_finite_difference_of_a_linear_critic(float64: None, is_target: Tensor) -> None:
    """½ <w_T, ε>², whatever σ is: exactly so for every single draw."""
    weights, tokens, noise = torch.randn(3, B, M, P)

    def critic(x: Tensor) -> Tensor:
        return (weights * x).sum(dim=(1, 2))

    for sigma in (1e-3, 0.05, 2.0):
        moved = losses.perturb_targets(tokens, is_target[..., None], noise, sigma)
        penalty = losses.finite_difference_penalty(critic(tokens), critic(moved), sigma)
        products = [(weights[r] * noise[r])[is_target[r]].sum() for r in range(B)]
        torch.testing.assert_close(penalty, 0.5 * torch.stack(products).square())


def test_finite_difference_agrees_with_exact_on_average(float64: None) -> None:
    """On f(x) = Σ sin(x + b), with the gradient cos(x + b); ½ <∇f_T, ε>² has the mean ½ ‖∇f_T‖².

    <∇f_T, ε>² is ‖∇f_T‖² times a χ² of one degree of freedom, so over n draws the mean's relative
    standard deviation is √(2 / n). Smoothness adds an error of order σ².
    """
    draws, sigma = 20_000, 1e-3
    tokens, shift = torch.randn(2, 1, M, P)
    is_target = torch.tensor([[True, False, True, True, False]])

    def critic(x: Tensor) -> Tensor:
        return (x + shift).sin().sum(dim=(1, 2))

    noise = torch.randn(draws, M, P)
    moved = losses.perturb_targets(
        tokens.expand(draws, -1, -1), is_target.expand(draws, -1)[..., None], noise, sigma
    )
    by_difference = losses.finite_difference_penalty(
        critic(tokens).expand(draws), critic(moved), sigma
    )
    tokens.requires_grad_()
    exact = losses.exact_penalty(critic(tokens), tokens, is_target[..., None])
    closed_form = 0.5 * (tokens + shift).cos()[is_target].square().sum()
    torch.testing.assert_close(exact[0], closed_form)
    error = float(by_difference.mean() / closed_form.detach() - 1)
    assert abs(error) < 4 * math.sqrt(2 / draws)  # 4 % here; a forgotten ½ would be 100 %


# The communication game, on two Gaussian models of pairs (x1, x2) with standard normal parts.
#
# The data have correlation RHO. Task 1 generates x2 given x1, as x2 = r1 x1 + √(1 - r1²) ε, and
# task 2 generates x1 given x2 likewise with r2: with the source from the data, their models are
# p_i = bivariate normal of correlation r_i. They agree where r1 = r2 -- at the truth RHO, but at
# any other r as well: agreement is about the model's own conditionals.
#
# The optimal discriminator for a task is f* = log q(x_T | x_S) - log p(x_T | x_S), in closed form
# below. It is held fixed while the generator moves, as in a game, so a generator's gradient can
# come only through its samples: ∇θ x · ∇x (f*(x; 2) - f*(x; 1)). Now f*(x; 2) - f*(x; 1)
# = log p_1(x) - log p_2(x), which is 0 for every x where the models agree. Then ∇x of it is 0
# too, and the generator's gradient is exactly 0 for every single sample (up to the rounding of
# terms that cancel), not just on average.

RHO = 0.6


def log_normal(x: Tensor, mean: Tensor, correlation: Tensor | float) -> Tensor:
    """log N(x; mean, 1 - correlation²)."""
    scale = torch.as_tensor(1 - correlation**2).sqrt()
    return Normal(mean, scale).log_prob(x)


def optimal_logit(x1: Tensor, x2: Tensor, task: int, correlation: Tensor) -> Tensor:
    """f*(x; S, T) = log q(x_T | x_S) - log p(x_T | x_S), for a frozen generator."""
    source, target = (x1, x2) if task == 1 else (x2, x1)
    frozen = correlation.detach()
    return log_normal(target, RHO * source, RHO) - log_normal(target, frozen * source, frozen)


def play(r1: Tensor, r2: Tensor, draws: int) -> Tensor:
    """The game's value for each draw from both models, by the optimal discriminator."""
    source, noise = torch.randn(2, 2, draws)
    generated = [
        r * source[i] + (1 - r**2).sqrt() * noise[i] for i, r in enumerate((r1, r2))
    ]  # by reparameterization, so that a gradient passes
    of_first, of_second = (source[0], generated[0]), (generated[1], source[1])
    return losses.communication(
        optimal_logit(*of_first, 1, r1),
        optimal_logit(*of_first, 2, r2),
        optimal_logit(*of_second, 1, r1),
        optimal_logit(*of_second, 2, r2),
    )


@pytest.mark.parametrize("agreed", [RHO, 0.2, -0.7])
def test_communication_at_agreement(float64: None, agreed: float) -> None:
    r1, r2 = torch.tensor([agreed, agreed]).requires_grad_().unbind()
    value = play(r1, r2, draws=101)
    torch.testing.assert_close(value, torch.full((101,), -2 * math.log(2)))
    for draw in value[:11]:
        gradients = torch.autograd.grad(draw, (r1, r2), retain_graph=True)
        torch.testing.assert_close(torch.stack(gradients), torch.zeros(2), rtol=0, atol=1e-12)


def test_communication_at_disagreement(float64: None) -> None:
    """2 JSD(p_1, p_2) - 2 ln 2, above its value at agreement, and the generator can lower it."""
    correlations = torch.tensor([0.8, -0.3], requires_grad=True)
    values = play(*correlations.unbind(), draws=20_000)
    bound = 4 * float(values.detach().std()) / math.sqrt(20_000)

    axis = torch.linspace(-8, 8, 801)
    x = torch.cartesian_prod(axis, axis)
    log_p1, log_p2 = (
        MultivariateNormal(torch.zeros(2), torch.tensor([[1, r], [r, 1.0]])).log_prob(x)
        for r in (0.8, -0.3)
    )
    log_mean = torch.logaddexp(log_p1, log_p2) - math.log(2)
    integrand = log_p1.exp() * (log_p1 - log_mean) + log_p2.exp() * (log_p2 - log_mean)
    expected = float(integrand.sum()) * 0.02**2 - 2 * math.log(2)

    assert expected > -2 * math.log(2) + 0.1
    assert abs(float(values.detach().mean()) - expected) < bound
    (gradient,) = torch.autograd.grad(values.mean(), correlations)
    assert gradient[0] > 0.05  # the larger correlation falls,
    assert gradient[1] < -0.05  # the smaller one rises


# Energy score and squared error


def test_target_norm_by_hand() -> None:
    """Two target tokens of two values; the third token is none and counts for nothing."""
    difference = torch.tensor([[[3.0, 4.0], [99.0, 99.0], [0.0, 1.0]]])
    is_target = torch.tensor([[True, False, True]])
    whole = math.sqrt((9 + 16 + 0 + 1) / 4)
    tokens = (math.sqrt(25 / 2) + math.sqrt(1 / 2)) / 2
    norm = losses.target_norm(difference, is_target, eps=0.0)
    torch.testing.assert_close(norm, torch.tensor([0.5 * whole + 0.5 * tokens]))


def test_norm_has_a_gradient_at_zero() -> None:
    difference = torch.zeros(1, 3, 2, requires_grad=True)
    losses.target_norm(difference, torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert difference.grad is not None
    assert torch.equal(difference.grad, torch.zeros(1, 3, 2))


def test_energy_score_by_hand() -> None:
    """One target token of one value: the norm is the absolute value, but for ε."""
    is_target = torch.tensor([[True], [True]])
    real, first, second = (
        torch.tensor(values).view(2, 1, 1) for values in ([1.0, 0.0], [4.0, 2.0], [-1.0, -2.0])
    )
    # ½ (|4 - 1| + |-1 - 1|) - ½ |4 + 1| = 0, the real value lies between; ½ (2 + 2) - ½ 4 = 0
    score = losses.energy_score(real, first, second, is_target)
    torch.testing.assert_close(score, torch.tensor([0.0, 0.0]), rtol=0, atol=1e-5)
    # ½ (|4 - 9| + |-1 - 9|) - ½ |4 + 1| = 5, the real value lies outside; ½ (8 + 12) - ½ 4 = 8
    score = losses.energy_score(torch.tensor([9.0, 10.0]).view(2, 1, 1), first, second, is_target)
    torch.testing.assert_close(score, torch.tensor([5.0, 8.0]), rtol=0, atol=1e-5)


def test_energy_score_is_symmetric_in_its_samples_and_never_negative(is_target: Tensor) -> None:
    real, first, second = torch.randn(3, B, M, P)
    score = losses.energy_score(real, first, second, is_target)
    torch.testing.assert_close(losses.energy_score(real, second, first, is_target), score)
    for _ in range(101):
        real, first, second = torch.randn(3, B, M, P)
        assert (losses.energy_score(real, first, second, is_target) >= 0).all()
        middle = (first + second) / 2  # the triangle inequality is tight here
        assert (losses.energy_score(middle, first, second, is_target) >= 0).all()


def test_energy_score_ignores_all_but_targets(is_target: Tensor) -> None:
    real, first, second = torch.randn(3, B, M, P)
    score = losses.energy_score(real, first, second, is_target)
    elsewhere = torch.where(is_target[..., None], first, torch.randn(B, M, P))
    assert torch.equal(losses.energy_score(real, elsewhere, second, is_target), score)


def test_energy_score_is_least_at_the_true_distribution(float64: None) -> None:
    """Expectations over three atoms in two tokens, summed out; the truth is (0.5, 0.3, 0.2)."""
    atoms = torch.randn(3, 2, P)
    truth = torch.tensor([0.5, 0.3, 0.2])
    real, first, second = torch.cartesian_prod(*[torch.arange(3)] * 3).T
    scores = losses.energy_score(
        atoms[real], atoms[first], atoms[second], torch.ones(27, 2, dtype=torch.bool)
    )

    def expected(model: Tensor) -> Tensor:
        return (truth[real] * model[first] * model[second] * scores).sum()

    logits = truth.log().requires_grad_()
    (gradient,) = torch.autograd.grad(expected(logits.softmax(0)), logits)
    torch.testing.assert_close(gradient, torch.zeros(3), rtol=0, atol=1e-12)
    for other in torch.distributions.Dirichlet(torch.ones(3)).sample((53,)):
        assert expected(other) > expected(truth)
    assert expected(torch.tensor([1.0, 0.0, 0.0])) > expected(truth)  # no reward for collapse


def test_squared_error_by_hand() -> None:
    """Mean over the target's values of each row: (1 + 9 + 0 + 4) / 4, and (16 + 0) / 2."""
    real = torch.zeros(2, 3, 2)
    predicted = torch.tensor(
        [[[1.0, 3.0], [50.0, 50.0], [0.0, 2.0]], [[70.0, 70.0], [4.0, 0.0], [60.0, 0.0]]]
    )
    is_target = torch.tensor([[True, False, True], [False, True, False]])
    error = losses.squared_error(real, predicted, is_target)
    torch.testing.assert_close(error, torch.tensor([3.5, 8.0]))


def test_cross_entropy_of_each_row() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(7.0)]])
    expected = torch.tensor([math.log(4 / 3), math.log(8 / 7)])
    torch.testing.assert_close(losses.label_cross_entropy(logits, torch.tensor([0, 1])), expected)
