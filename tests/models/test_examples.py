"""The examples in the docstrings of the model's methods run, and print what they say."""

from __future__ import annotations

import doctest

import pytest

from biglearn_gan.models import biglearn_gan
from biglearn_gan.models.biglearn_gan import BigLearnGAN

METHODS = ("sample", "complete", "draw_labels", "classify", "features", "score", "rank")


@pytest.mark.parametrize("method", METHODS)
def test_an_example_prints_what_it_says(method: str) -> None:
    function = getattr(BigLearnGAN, method)
    (example,) = doctest.DocTestFinder().find(function, method, globs=dict(vars(biglearn_gan)))
    assert example.examples
    failures: list[str] = []
    doctest.DocTestRunner().run(example, out=failures.append)
    assert not failures, "".join(failures)
