"""The pages of documentation are short, show tables that can be read, and link to what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_tools import (
    GUIDES,
    README,
    RESULTS,
    ROOT,
    anchors,
    blocks,
    prose,
    read,
    tables,
    text_of,
)

DOCS = [README, *GUIDES, *RESULTS, ROOT / "docs" / "README.md", ROOT / "experiments" / "README.md"]
PROSE = [*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_short(page: Path) -> None:
    assert len(prose(page).split()) <= (900 if page == README else 2000)
    if page == ROOT / "experiments" / "README.md":
        assert len(read(page).splitlines()) <= 120


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_table_is_narrow_and_has_a_sentence_above_it(page: Path) -> None:
    for above, rows in tables(page):
        columns = {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}
        assert max(columns) <= 8, rows[0]
        assert above.rstrip().endswith((".", ":")), (above, rows[0])


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_image_is_shown_somewhere() -> None:
    shown = "".join(read(page) for page in DOCS)
    for image in sorted((ROOT / "docs" / "images").iterdir()):
        assert f"images/{image.name}" in shown, image.name


def test_the_readme_shows_a_picture_before_anything_else() -> None:
    before, _, _ = read(README).partition("\n## ")
    assert re.search(r"^!\[.+\]\(docs/images/.+\)$", before, re.MULTILINE)


def test_python_examples_are_in_pages_that_tests_follow() -> None:
    assert [len(blocks(page, "python")) for page in DOCS[:2]] == [1, 3]
    assert not any(blocks(page, "python") for page in DOCS if page not in (README, *GUIDES))
