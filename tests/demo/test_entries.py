"""What a person enters on the page, and what a program sends to it, is checked."""

from __future__ import annotations

import gradio as gr
import pytest

from biglearn_gan.demo.entries import (
    EntryError,
    check_fit,
    check_label,
    check_number,
    check_seed,
    check_upload,
)
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL


@pytest.mark.parametrize(("entry", "number"), [(1, 1), (16, 16), (3.0, 3)])
def test_a_whole_number_in_range_is_read(entry: float, number: int) -> None:
    checked = check_number(entry, "the number", 1, 16)
    assert checked == number and isinstance(checked, int)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (0, "the number must be 1 to 16, not 0"),
        (17, "the number must be 1 to 16, not 17"),
        (1e300, "the number must be 1 to 16, not 1e"),
        (float("nan"), "the number must be 1 to 16, not nan"),
        (float("inf"), "the number must be 1 to 16, not inf"),
        (6.5, "the number must be a whole number, not 6.5"),
    ],
)
def test_another_number_is_a_mistake_of_the_person(entry: float, message: str) -> None:
    with pytest.raises(EntryError, match=message):
        check_number(entry, "the number", 1, 16)


@pytest.mark.parametrize("entry", ["abc", "6", None, True, [6], "x" * 1_000])
def test_no_number_is_a_broken_request_without_a_traceback(entry: object) -> None:
    with pytest.raises(gr.Error, match="the number must be 1 to 16, not ") as caught:
        check_number(entry, "the number", 1, 16)
    assert not caught.value.print_exception
    assert len(caught.value.message) < 80


def test_an_empty_seed_is_zero() -> None:
    assert check_seed(None) == 0
    assert check_seed(2**53 - 1) == 2**53 - 1
    with pytest.raises(EntryError, match="the seed must be 0 to 9007199254740991, not -1"):
        check_seed(-1)


def test_labels_are_those_of_the_model() -> None:
    names = ("ant", "bee", "cat")
    assert [check_label(entry, names) for entry in ("any", None, "ant", "cat")] == [
        *(UNKNOWN_LABEL, UNKNOWN_LABEL),
        *(0, 2),
    ]
    assert check_label("any", ()) == UNKNOWN_LABEL
    with pytest.raises(gr.Error, match="the label must be one of any, ant, bee, cat, not 2"):
        check_label("2", names)
    with pytest.raises(gr.Error, match="the label must be one of any, not 0"):
        check_label("0", ())
    with pytest.raises(gr.Error, match=r"the label must be one of any, 0, not \['any'\]"):
        check_label(["any"], ("0",))


def test_a_fit_is_one_of_three() -> None:
    assert [check_fit(mode) for mode in ("crop", "pad", "stretch")] == ["crop", "pad", "stretch"]
    for broken in ("zoom", None, ["crop"]):
        with pytest.raises(gr.Error, match="the fit must be one of crop, pad, stretch, not "):
            check_fit(broken)


def test_an_upload_is_a_file() -> None:
    assert (
        check_upload({"path": "photo.png", "size": 3, "meta": {"_type": "gradio.FileData"}})
        == "photo.png"
    )
    for entry in (None, {}, {"path": None}, ["photo.png"], "photo.png"):
        with pytest.raises(gr.Error, match="the upload is missing: send one file"):
            check_upload(entry)
