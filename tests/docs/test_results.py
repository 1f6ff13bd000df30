"""The commands in docs/results run from top to bottom of each page."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_tools import DATA, RESULTS, blocks, commands, follow, needs_mnist


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.stem)
def test_the_page_can_be_followed(page: Path, clone: Path) -> None:
    found = [command for _, block in blocks(page, "bash") for command in commands(block)]
    if DATA is None and found and all(needs_mnist(command) for command in found):
        pytest.skip("needs MNIST: set BIGLEARN_DATA to a folder that holds it")
    follow(page)
