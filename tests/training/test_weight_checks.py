"""Checksums of weights, and which process has others. Two real processes: test_processes.py."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from biglearn_gan.training.weight_checks import (
    DifferentWeightsError,
    check_same_weights,
    checksum,
)


def test_a_checksum_is_the_sum_of_the_bits() -> None:
    one, two = torch.tensor([1.0, -0.0]), torch.tensor([[0.0], [2.0]])
    of_one, of_two = 0x3F800000 - 0x80000000, 0x40000000
    assert int(checksum([one])) == of_one
    assert int(checksum([one, two])) == of_one * 1_000_003 + of_two
    assert int(checksum([two, one])) == of_two * 1_000_003 + of_one


def test_the_smallest_change_of_one_weight_changes_it() -> None:
    weights = torch.randn(7, 11)
    changed = weights.clone()
    changed[3, 5] = torch.nextafter(weights[3, 5], torch.tensor(torch.inf))
    assert int(checksum([weights])) != int(checksum([changed]))
    assert int(checksum([weights])) == int(checksum([weights.clone()]))


class SeveralProcesses(Accelerator):
    """Process 0 of several, whose discriminators have these other checksums."""

    differences: tuple[int, ...] = ()

    @property
    def num_processes(self) -> int:
        return len(self.differences)

    def gather(self, tensor: Tensor) -> Tensor:
        assert tensor.shape == (1, 2)
        return torch.cat([tensor + torch.tensor([0, d]) for d in self.differences])


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ((0, 1), "process 1 has another discriminator than process 0"),
        ((0, 0, 5, 0), "process 2 has another discriminator than process 0"),
        ((0, 3, 3), "process 0 has another discriminator than process 1"),
        ((0, 1, 2, 3), "process 1 has another discriminator than process 0"),
    ],
)
def test_the_process_that_differs_is_named(differences: tuple[int, ...], message: str) -> None:
    accelerator = SeveralProcesses(cpu=True)
    accelerator.differences = differences
    networks = {"generator": nn.Linear(3, 2), "discriminator": nn.Linear(2, 5)}
    with pytest.raises(DifferentWeightsError, match=f"^{message}$"):
        check_same_weights(networks, accelerator)
    accelerator.differences = (0,) * len(differences)
    check_same_weights(networks, accelerator)
