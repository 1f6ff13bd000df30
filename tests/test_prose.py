"""Docs, docstrings, comments, messages and settings avoid phrases that readers stumble over."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {
    "bit for bit": "exactly",
    "to the bit": "exactly",
    "cannot be had": "cannot be loaded",
    "of one's own": "their own",
    "hears": "is called with",
    "told": "reported, or shown",
    "so many": "a number",
    "that is none": "invalid",
}
"""Phrases, and what to write instead."""

PATTERN = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "experiments/*.md", "checkpoints/*/README.md")
    for path in ROOT.glob(pattern)
)
CODE = sorted(
    path
    for top in ("biglearn_gan", "experiments", "tests")
    for path in ROOT.glob(f"{top}/**/*.py")
    if path != Path(__file__)
)
SETTINGS = [ROOT / "setup.cfg", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
CONFIGS = [*sorted(ROOT.glob("experiments/**/*.yaml")), *SETTINGS]


def prose(path: Path) -> str:
    """The text of a file on one line; of a Python file, its comments and strings."""
    if path.suffix != ".py":
        return " ".join(path.read_text(encoding="utf-8").split())
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    with path.open("rb") as file:
        words = [token.string for token in tokenize.tokenize(file.readline) if token.type in kinds]
    unquoted = [re.sub(r"^(#|\w*[\"']+)|[\"']+$", "", word) for word in words]
    return " ".join(" ".join(unquoted).split())


def test_no_banned_phrase() -> None:
    found = [
        f"{path.relative_to(ROOT)} says {phrase!r} for {BANNED[phrase.lower()]!r}"
        for path in (*TEXTS, *CONFIGS, *CODE)
        for phrase in PATTERN.findall(prose(path))
    ]
    assert not found, "\n".join(found)


def test_every_kind_of_text_is_read() -> None:
    assert TEXTS and CODE and CONFIGS
    assert PATTERN.search("Known pixels come back bit for bit.")
    assert not PATTERN.search("The untold story of thresholds.")
