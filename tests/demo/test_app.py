"""The page is served, or one sentence says why not."""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from demo_tools import free_port, taken_port
from PIL import Image

from biglearn_gan.demo import app
from biglearn_gan.demo.app import DemoError, serve
from biglearn_gan.demo.mask_canvas import canvas_value, painted_mask
from biglearn_gan.demo.session import DemoSession


def test_old_results_are_deleted(session: DemoSession, tmp_path: Path) -> None:
    result = session.sample(1, seed=0)
    first, second = (Path(app._show(result, tmp_path)[1]).parent for _ in range(2))
    assert first.is_dir() and second.is_dir()
    expired = time.time() - app.FILE_LIFETIME - 60
    os.utime(first, (expired, expired))
    app._show(result, tmp_path)
    assert second.is_dir() and not first.exists()


def test_the_value_of_a_canvas_is_an_image_and_its_paint() -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    value = canvas_value(picture)
    assert painted_mask(value) is None
    again = painted_mask(value | {"paint": value["image"]})
    assert again is not None
    assert (np.asarray(again) == np.asarray(picture)).all()
    assert painted_mask(canvas_value(None)) is None


def test_a_port_in_use_is_refused(session: DemoSession) -> None:
    with (
        taken_port() as port,
        pytest.raises(DemoError, match=f"cannot serve on 127.0.0.1:{port}"),
        serve(session, "127.0.0.1", port),
    ):
        pass


def test_the_page_is_served_on_ipv6(session: DemoSession) -> None:
    try:
        port = free_port("::1")
    except OSError as error:
        pytest.skip(f"no loopback address of IPv6: {error}")
    with serve(session, "::1", port) as address:
        assert address == f"http://[::1]:{port}/"
        with urllib.request.urlopen(address) as response:
            assert response.status == 200


@pytest.mark.parametrize("bypassed", ["example.org", "*"])
def test_the_page_is_served_despite_a_dead_proxy(
    bypassed: str, session: DemoSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, bypassed)
    with (
        serve(session, "127.0.0.1", free_port()) as address,
        urllib.request.urlopen(address) as response,
    ):
        assert response.status == 200
    expected = bypassed if bypassed == "*" else "example.org,localhost,127.0.0.1"
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == expected
