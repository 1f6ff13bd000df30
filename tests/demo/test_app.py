"""The page to paint a mask on, by its parts and in a real browser.

With the environment variable BIGLEARN_SCREENSHOT the browser leaves a picture there; with
BIGLEARN_DATA (see test_readme.py) it shows MNIST, else digits.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from biglearn_gan.cli.app import main
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.demo import app as demo
from biglearn_gan.demo.app import DemoError, serving
from biglearn_gan.demo.mask_canvas import empty_canvas, painted_mask
from biglearn_gan.demo.session import DemoSession
from biglearn_gan.image_grid import GAP
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.tasks.holes import HoleError

ROOT = Path(__file__).parents[2]
NAME = "mnist" if "BIGLEARN_DATA" in os.environ else "digits"
CHECKPOINT = f"checkpoints/{NAME}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
PATIENCE_MS = 120_000


def images_to_choose_from() -> ImageDataset:
    root = os.environ.get("BIGLEARN_DATA", "data")
    config = load_config(ROOT / f"experiments/{NAME}.yaml", [f"data.root={root}"])
    return load_dataset(config.data, "test")


@pytest.fixture
def studio(tiny_config: Callable[..., Config], tiny_dataset: ImageDataset) -> DemoSession:
    model = BigLearnGAN(tiny_config({"data.labels": True}))
    return DemoSession("my model", model, tiny_dataset)


def run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command line as if it were typed in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port of the loopback address at which somebody else listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])


def test_paint_is_a_hole_where_it_covers_half_of_a_pixel(studio: DemoSession) -> None:
    paint = np.zeros((80, 80, 4), dtype=np.uint8)
    paint[0:24, 8:16, 3] = 255  # 2.4 rows, 0.2 and 0.6 of two columns
    paint[40:44, 40:80, 3] = 255  # 0.4 of a row
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, 1] = True
    assert torch.equal(studio.hole(Image.fromarray(paint)), expected)
    for nothing in (None, Image.new("RGBA", (80, 80))):
        with pytest.raises(HoleError, match="nothing is painted"):
            studio.hole(nothing)


def test_old_answers_are_deleted(studio: DemoSession, tmp_path: Path) -> None:
    answer = studio.sample(1, seed=0)
    first, second = (Path(demo._shown(answer, tmp_path)[1]).parent for _ in range(2))
    assert first.is_dir() and second.is_dir()
    longer_ago = time.time() - demo.KEPT_SECONDS - 60
    os.utime(first, (longer_ago, longer_ago))
    demo._shown(answer, tmp_path)
    assert second.is_dir() and not first.exists()


def test_the_painter_gives_back_what_it_is_given() -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    value = empty_canvas(picture)
    assert painted_mask(value) is None
    again = painted_mask(value | {"paint": value["image"]})
    assert again is not None
    assert (np.asarray(again) == np.asarray(picture)).all()
    assert painted_mask(empty_canvas(None)) is None


def test_the_command_line_draws_the_same(
    studio: DemoSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.model.save_pretrained(tmp_path / "my model")
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[2:5, 1:7] = True
    for answer in (
        studio.complete(studio.test_image(5), hole, variations=3, seed=4, label=7),
        studio.complete(studio.test_image(5), hole, variations=2, seed=4),
        studio.sample(9, seed=4, label=7),
        studio.sample(16, seed=0),
    ):
        for name, image in answer.files.items():
            image.save(tmp_path / name)
        assert run(answer.command, tmp_path, monkeypatch) == 0
        arrays = np.load(tmp_path / "samples" / "demo" / "samples.npz")
        assert (arrays["labels"] == 7).all() == ("--label 7" in answer.command)
        if answer.files:
            written = Image.open(tmp_path / "samples" / "demo" / "grid.png")
            assert (np.asarray(written) == np.asarray(answer.grid)).all()
            continue
        factor, grid = 7, np.asarray(answer.grid)[..., 0]
        step = 8 * factor + GAP
        for number, image in enumerate(arrays["images"][:, 0, :, :, 0]):
            top, left = GAP + number // 8 * step, GAP + number % 8 * step
            cell = grid[top : top + step - GAP : factor, left : left + step - GAP : factor]
            assert (cell == image).all()


def test_the_command_line_names_the_device(studio: DemoSession) -> None:
    on_a_gpu = DemoSession("my model", studio.model, None, device="cuda")
    assert " --device cuda " in on_a_gpu.sample(1, seed=0).command
    assert "--device" not in studio.sample(1, seed=0).command


def test_an_upload_is_fitted_to_the_model(studio: DemoSession, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "right.png")
    fitted, note = studio.uploaded(tmp_path / "right.png")
    assert (fitted.numpy() == pixels[None]).all()
    assert note == ""
    Image.new("RGB", (30, 20), (255, 255, 255)).save(tmp_path / "wide.jpg")
    fitted, note = studio.uploaded(tmp_path / "wide.jpg")
    assert fitted.shape == (1, 8, 8)
    assert (fitted > 250).all()
    assert note == "the image was resized and center-cropped to 8 x 8"
    assert studio.canvas_size == (448, 448)


def test_an_unknown_test_image_and_a_port_in_use(studio: DemoSession) -> None:
    with pytest.raises(ValueError, match="0 to 36, not 37"):
        studio.test_image(37)
    with (
        taken_port() as port,
        pytest.raises(DemoError, match=f"127.0.0.1:{port} cannot be served"),
        serving(studio, "127.0.0.1", port),
    ):
        pass


def test_the_command_tells_a_port_in_use_before_it_loads_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with taken_port() as port:
        assert run(f"biglearn-gan demo --checkpoint none --port {port}", tmp_path, monkeypatch) == 1
    told = f"127.0.0.1:{port} cannot be served (Address already in use)"
    assert capsys.readouterr().err == f"biglearn-gan: {told}\n"


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_what_is_no_name_of_a_host_is_told(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"biglearn-gan demo --checkpoint none --host {host}", tmp_path, monkeypatch) == 1
    told = f"{host}:7860 cannot be served ({host} is no name of a host)"
    assert capsys.readouterr().err == f"biglearn-gan: {told}\n"


def test_the_command_tells_that_its_extra_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    for module in ("demo", "painter"):
        monkeypatch.delitem(sys.modules, f"biglearn_gan.{module}")
    assert run("biglearn-gan demo --checkpoint none", tmp_path, monkeypatch) == 1
    told = "the page needs gradio: pip install 'biglearn-gan[demo]'"
    assert capsys.readouterr().err == f"biglearn-gan: {told}\n"


def test_the_loopback_address_of_ipv6_is_served(studio: DemoSession) -> None:
    try:
        port = free_port("::1")
    except OSError as error:
        pytest.skip(f"no loopback address of IPv6: {error}")
    with serving(studio, "::1", port) as address:
        assert address == f"http://[::1]:{port}/"
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("others", ["example.org", "*"])
def test_the_page_is_served_behind_a_proxy_that_answers_nothing(
    others: str, studio: DemoSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, others)
    with (
        serving(studio, "127.0.0.1", free_port()) as address,
        urllib.request.urlopen(address) as answer,
    ):
        assert answer.status == 200
    expected = others if others == "*" else "example.org,localhost,127.0.0.1"
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == expected


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as started:
        if found is None and not Path(started.chromium.executable_path).exists():
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
        opened = started.chromium.launch(executable_path=found, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    model = BigLearnGAN.from_pretrained(ROOT / CHECKPOINT)
    port = free_port()
    studio = DemoSession(CHECKPOINT, model, images_to_choose_from())
    with serving(studio, "127.0.0.1", port) as address:
        yield address


class Page:
    """The page in a browser, as a person uses it."""

    def __init__(self, page: Any, url: str):
        self.page = page
        self.hosts: set[str] = set()
        page.on("request", lambda request: self.note(request.url))
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        self.shown()

    def note(self, url: str) -> None:
        """Remember which host something came from, if from any."""
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(url).netloc)

    def shown(self, unlike: str = "none") -> str:
        """The picture below the brush, once there is another one than ``unlike``."""
        style = "() => document.querySelector('#painter canvas')?.style.backgroundImage"
        self.page.wait_for_function(
            f"(unlike) => ![undefined, '', unlike].includes(({style})())", arg=unlike
        )
        return str(self.page.evaluate(style))

    def paint(self) -> None:
        """A slanted stroke over the middle."""
        box = self.page.locator("#painter canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x - 120, y - 120)
        self.page.mouse.down()
        for step in range(20):
            self.page.mouse.move(x - 120 + 12 * step, y - 120 + 12 * step)
        self.page.mouse.up()

    def painted(self) -> float:
        """The share of the canvas that paint covers."""
        return float(
            self.page.evaluate(
                "() => { const canvas = document.querySelector('#painter canvas');"
                " const size = [canvas.width, canvas.height];"
                " const { data } = canvas.getContext('2d').getImageData(0, 0, ...size);"
                " return data.filter((value, i) => i % 4 === 3 && value > 127).length"
                " / (size[0] * size[1]); }"
            )
        )

    def press(self, button: str, result: str) -> bytes:
        """Press a button and wait for another result than the one that is there."""
        image = self.page.locator(f"#{result} img")
        before = image.get_attribute("src") if image.count() else None
        self.page.get_by_role("button", name=button, exact=True).click()
        self.page.wait_for_function(
            "([id, before]) => { const image = document.querySelector(`#${id} img`);"
            " return image && image.src && image.src !== before && image.complete; }",
            arg=[result, before],
        )
        source = image.get_attribute("src")
        self.note(source)
        return self.page.request.get(source).body()

    def turn_to_samples(self) -> Any:
        """Open the other tab; its own fields, once they are there."""
        self.page.get_by_role("tab", name="From nothing").click()
        button = self.page.get_by_role("button", name="Generate")
        return self.page.get_by_role("tabpanel").filter(has=button)

    def text(self, element: str) -> str:
        return self.page.locator(f"#{element}").inner_text()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1180, "height": 980})
    yield Page(opened, url)
    opened.close()


def pixels(data: bytes, path: Path) -> np.ndarray:
    path.write_bytes(data)
    return np.asarray(Image.open(path))


def test_paint_and_complete(
    page: Page, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.paint()
    first = pixels(page.press("Complete", "completion-result"), tmp_path / "first.png")
    if path := os.environ.get("BIGLEARN_SCREENSHOT"):
        page.page.screenshot(path=path, clip={"x": 90, "y": 0, "width": 1000, "height": 835})
    command = page.text("completion-command").splitlines()[-1]
    for name in ("input.png", "mask.png"):
        link = page.page.locator(f'#completion-files a[href*="{name}"]').first
        body = page.page.request.get(link.get_attribute("href")).body()
        (tmp_path / name).write_bytes(body)

    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    assert run(command, tmp_path, monkeypatch) == 0
    arrays = np.load(tmp_path / "samples" / "demo" / "samples.npz")
    assert (np.asarray(Image.open(tmp_path / "samples" / "demo" / "grid.png")) == first).all()
    kept = ~arrays["masks"][0]
    assert 0.5 < kept.mean() < 0.95, f"{1 - kept.mean():.0%} is painted"
    source = arrays["sources"][0].squeeze()
    assert (source == images_to_choose_from().images_uint8(torch.tensor([0]))[0, 0].numpy()).all()
    for variation in arrays["images"][0]:
        assert (variation.squeeze()[kept] == source[kept]).all()

    page.page.get_by_label("Seed").first.fill("1")
    second = pixels(page.press("Complete", "completion-result"), tmp_path / "second.png")
    assert second.shape == first.shape
    assert (second != first).any()
    assert page.hosts == {urlsplit(url).netloc}


def test_nothing_painted_and_a_wrong_upload_are_told_on_the_page(
    page: Page, tmp_path: Path
) -> None:
    page.page.get_by_role("button", name="Complete", exact=True).click()
    page.page.get_by_text("nothing is painted: paint the part").wait_for()
    wrong = tmp_path / "letter.png"
    wrong.write_text("no image at all")
    with page.page.expect_file_chooser() as chooser:
        page.page.get_by_role("button", name="Upload an image instead").click()
    chooser.value.set_files(wrong)
    page.page.get_by_text("letter.png").first.wait_for()
    assert str(tmp_path) not in page.text("completion-told")


def test_numbers_out_of_range_are_told_on_the_page(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    last = len(images_to_choose_from()) - 1
    before = page.shown()
    page.page.get_by_label("number input for Test image").fill("54321")
    page.page.get_by_text(f"test images have the numbers 0 to {last}, not 54321").wait_for()
    assert page.shown() == before
    page.paint()
    page.page.get_by_label("Seed").first.fill("-1")
    page.page.get_by_role("button", name="Complete", exact=True).click()
    page.page.get_by_text("a seed is 0 to 9007199254740991, not -1").wait_for()
    samples = page.turn_to_samples()
    samples.get_by_label("Seed").fill("9007199254740993")
    samples.get_by_role("button", name="Generate").click()
    page.page.locator("#joint-told").get_by_text("a seed is 0 to 9007199254740991").wait_for()
    assert "Traceback" not in capfd.readouterr().err


def test_the_result_is_downloaded(page: Page, tmp_path: Path) -> None:
    page.paint()
    shown = pixels(page.press("Complete", "completion-result"), tmp_path / "shown.png")
    with page.page.expect_download() as download:
        page.page.locator("#completion-result").get_by_label("Download").click()
    download.value.save_as(tmp_path / "downloaded.png")
    assert (np.asarray(Image.open(tmp_path / "downloaded.png")) == shown).all()


def test_another_test_image_and_an_upload_take_the_place_of_the_first(
    page: Page, tmp_path: Path
) -> None:
    def sources() -> np.ndarray:
        page.paint()
        grid = pixels(page.press("Complete", "completion-result"), tmp_path / "grid.png")
        height = grid.shape[0]
        return grid[GAP : height - GAP, GAP : height - GAP]

    images = images_to_choose_from()
    size = images.image_size[0]
    before = page.shown()
    page.page.get_by_label("number input for Test image").fill("3")
    page.page.get_by_label("number input for Test image").press("Enter")
    before = page.shown(unlike=before)
    shown = sources()
    factor = len(shown) // size
    expected = images.images_uint8(torch.tensor([3]))[0, 0].numpy()
    assert (shown[::factor, ::factor, 0] == expected).all()
    Image.new("L", (size, size), 77).save(tmp_path / "gray.png")
    assert page.painted() > 0
    with page.page.expect_file_chooser() as chooser:
        page.page.get_by_role("button", name="Upload an image instead").click()
    chooser.value.set_files(tmp_path / "gray.png")
    page.shown(unlike=before)
    assert page.painted() == 0
    assert page.text("completion-told") == ""
    assert (sources() == 77).all()
    before = page.shown()
    Image.new("L", (3 * size, 2 * size), 99).save(tmp_path / "wide.png")
    with page.page.expect_file_chooser() as chooser:
        page.page.get_by_role("button", name="Upload an image instead").click()
    chooser.value.set_files(tmp_path / "wide.png")
    page.shown(unlike=before)
    told = f"the image was resized and center-cropped to {size} x {size}"
    page.page.locator("#completion-told").get_by_text(told).wait_for()
    assert (sources() == 99).all()


def test_paint_is_erased_and_cleared(page: Page) -> None:
    page.paint()
    whole = page.painted()
    assert 0.05 < whole < 0.3
    page.page.get_by_label("Brush").fill("6")
    page.page.get_by_label("Erase").check()
    page.paint()
    assert 0.3 * whole < page.painted() < 0.7 * whole
    page.page.get_by_role("button", name="Clear").click()
    assert page.painted() == 0
    page.page.get_by_role("button", name="Complete", exact=True).click()
    page.page.get_by_text("nothing is painted: paint the part").wait_for()


def test_a_page_without_test_images_waits_for_an_upload(
    browser: Any, studio: DemoSession, tmp_path: Path
) -> None:
    port = free_port()
    without = DemoSession("my model", studio.model, None)
    with serving(without, "127.0.0.1", port) as address:
        opened = browser.new_page(viewport={"width": 1180, "height": 980})
        opened.set_default_timeout(PATIENCE_MS)
        opened.goto(address)
        opened.get_by_role("button", name="Complete", exact=True).click()
        opened.get_by_text("there is no image yet: upload one").wait_for()
        opened.close()


def test_a_label_is_asked_for(
    browser: Any, tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> None:
    studio = DemoSession("labeled", BigLearnGAN(tiny_config({"data.labels": True})), tiny_dataset)
    port = free_port()
    with serving(studio, "127.0.0.1", port) as address:
        opened = browser.new_page(viewport={"width": 1180, "height": 980})
        page = Page(opened, address)
        page.turn_to_samples().get_by_label("Label").click()
        page.page.get_by_role("option", name="7", exact=True).last.click()
        page.press("Generate", "joint-result")
        assert "--label 7" in page.text("joint-command")
        opened.close()


def test_images_from_nothing(page: Page, url: str, tmp_path: Path) -> None:
    page.turn_to_samples()
    image = pixels(page.press("Generate", "joint-result"), tmp_path / "joint.png")
    assert image.shape[1] > image.shape[0]  # 16 images in two rows of eight
    assert "--num 16" in page.text("joint-command")
    assert page.hosts == {urlsplit(url).netloc}
