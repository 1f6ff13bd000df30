"""``biglearn-gan demo`` says in one sentence why it cannot serve the page."""

from __future__ import annotations

import sys

import pytest
from demo_tools import taken_port
from toys import Run


def test_a_port_in_use_is_refused_before_the_model_is_loaded(run: Run) -> None:
    with taken_port() as port:
        code, _, err = run("demo", "--checkpoint", "none", "--port", port)
    message = f"cannot serve on 127.0.0.1:{port} (Address already in use)"
    assert (code, err) == (1, f"biglearn-gan: {message}\n")


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_an_invalid_host_name_is_refused(host: str, run: Run) -> None:
    code, _, err = run("demo", "--checkpoint", "none", "--host", host)
    message = f"cannot serve on {host}:7860 ({host} is not a host name)"
    assert (code, err) == (2, f"biglearn-gan: {message}\n")


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    for module in ("app", "mask_canvas"):
        monkeypatch.delitem(sys.modules, f"biglearn_gan.demo.{module}", raising=False)
    code, _, err = run("demo", "--checkpoint", "none")
    message = "the demo needs gradio: pip install 'biglearn-gan[demo]'"
    assert (code, err) == (1, f"biglearn-gan: {message}\n")
