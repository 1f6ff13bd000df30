"""What is drawn ahead of time in another thread equals what is drawn when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from training_tools import MOST_RANDOMNESS, assert_same, train

from biglearn_gan.training.drawn_ahead import DrawnAhead
from biglearn_gan.training.trainer import Trainer


def test_only_the_next_result_is_computed_and_in_another_thread() -> None:
    calls: list[tuple[int, bool]] = []

    def square(position: int) -> int:
        calls.append((position, threading.current_thread() is threading.main_thread()))
        return position**2

    ahead = DrawnAhead(square, 3)
    assert [ahead.at(position) for position in (5, 8, 11)] == [25, 64, 121]
    assert ahead.at(2) == 4
    ahead.close()
    asked, computed_ahead = (
        [position for position, in_main in calls if in_main is kind] for kind in (True, False)
    )
    assert asked == [5, 2]
    assert computed_ahead[:2] == [8, 11]  # and 14, unless it was canceled
    assert ahead.at(7) == 49  # in a new thread
    ahead.close()


def test_an_error_is_raised_where_the_result_is_needed() -> None:
    def fail_at_4(position: int) -> int:
        if position == 4:
            raise ValueError("four")
        return position

    ahead = DrawnAhead(fail_at_4, 2)
    assert ahead.at(2) == 2
    with pytest.raises(ValueError, match="four"):
        ahead.at(4)
    ahead.close()


def test_training_with_tasks_drawn_ahead_changes_nothing(
    make_trainer: Callable[..., Trainer],
) -> None:
    changes = MOST_RANDOMNESS | {"train.max_images": 24}
    one, other = make_trainer(changes), make_trainer(changes)
    assert not one.batch_sampler.draws_ahead  # on a CPU
    other.batch_sampler.draws_ahead = True
    states = [train(trainer).state_dict() for trainer in (one, other)]
    other.close()
    assert_same(*states)
    batch, tasks = other.batch_sampler.draw(8)  # as after an error, at an earlier step
    expected, expected_tasks = one.batch_sampler.draw(8)
    assert (batch.sequence.positions == expected.sequence.positions).all()
    assert (tasks.masks.target == expected_tasks.masks.target).all()
    other.close()
