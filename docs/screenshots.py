"""Take the pictures of the documentation anew: rendered clips, a real browser.

python docs/screenshots.py                 # trains what `whenwhere demo` trains first; minutes
python docs/screenshots.py --model RUN     # of a run on rendered clips that is there
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from whenwhere.cli import main
from whenwhere.structures import Explanation

PICTURES = Path(__file__).resolve().parent / "pictures"
LIMIT = 300_000  # bytes
DESKTOP = {"viewport": {"width": 1100, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


def trained(folder: Path) -> Path:
    """The demo's run, trained unless it is there."""
    if not (folder / "explained" / "index.html").exists():
        assert main(["demo", "--out", str(folder)]) == 0
    return folder / "run"


def explained(run: Path) -> list[Path]:
    """Test clips of the run's data, one a class, explained in the working folder; gives the videos."""
    from whenwhere.datasets.synthetic import write_dataset
    from whenwhere.training.checkpoint import load_model

    _, record = load_model(run)
    write_dataset(record.config.data.synthetic, "rendered", {"test": len(record.classes)})
    Path("clips").mkdir()
    videos = [
        video.rename(Path("clips", f"{video.parent.name}.mp4")) for video in sorted(Path("rendered").glob("*/*.mp4"))
    ]
    assert main(["explain", *map(str, videos), "--model", str(run), "--out", "explained"]) == 0
    return videos


def best_moment(folder: Path) -> float:
    """Seconds: the middle of the first segment."""
    explanation = Explanation.load(folder / "explanation.json")
    return sum((explanation.segments[0].start, explanation.segments[0].end)) / 2 if explanation.segments else 0.0


def show(page: Any, seconds: float) -> None:
    """Wait for the player, and bring it to a moment."""
    wait_until(page, "document.querySelector('video')?.readyState >= 2")
    page.evaluate("(seconds) => { document.querySelector('video').currentTime = seconds }", seconds)
    page.wait_for_timeout(800)


def wait_until(page: Any, condition: str, seconds: float = 300.0) -> None:
    """Ask from here again and again: the pages' own policy forbids the browser to do it."""
    until = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < until, f"still not true after {seconds:g} s: {condition}"
        page.wait_for_timeout(100)


def take(page: Any, name: str) -> None:
    """A picture of the page, with as many colours as fit below the limit."""
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    for colors in (256, 128, 64):
        if path.stat().st_size < LIMIT:
            break
        page.screenshot(path=path)
        Image.open(path).convert("RGB").quantize(colors).save(path, optimize=True)
    print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")


def of_pages(browser: Any, video: Path) -> None:
    """Report in light, dark and on a phone; index on both."""
    report, index = Path("explained", video.stem, "report.html"), Path("explained", "index.html")
    views = {
        "report": (report, DESKTOP),
        "report_dark": (report, {**DESKTOP, "color_scheme": "dark"}),
        "report_phone": (report, PHONE),
        "index": (index, DESKTOP),
        "index_phone": (index, PHONE),
    }
    for name, (file, view) in views.items():
        page = browser.new_context(**view).new_page()
        page.goto(file.resolve().as_uri())
        if file == report:
            show(page, best_moment(report.parent))
        take(page, name)
        page.context.close()


def of_figures(video: Path) -> None:
    """Filmstrip and timeline of a clip, as for a paper."""
    for kind, more in (("filmstrip", ["--frames", "6"]), ("timeline", [])):
        out = PICTURES / f"{kind}.png"
        explanation = str(Path("explained", video.stem, "explanation.json"))
        assert main(["figure", kind, explanation, "--width", "6.75", "--dpi", "110", "--out", str(out), *more]) == 0


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of a server of the run, as it says it itself."""
    command = [sys.executable, "-m", "whenwhere.cli", "serve", "--model", str(run), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        yield next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line)))
    finally:
        server.terminate()
        server.wait(timeout=60)


def of_the_server(browser: Any, run: Path, videos: list[Path], moment: float) -> None:
    """Its list after some clips, the player, and both on a phone."""
    with served(run) as address:
        page = browser.new_context(**DESKTOP).new_page()
        page.goto(address)
        page.set_input_files("input[type=file]", [str(video) for video in videos])
        wait_until(page, f"document.querySelectorAll('#clips a[href*=\"clips/\"]').length >= {len(videos)}")
        take(page, "server")
        clip = page.evaluate("document.querySelector('#clips a[href*=\"clips/\"]').href")
        for name, where, view in (("server_phone", address, PHONE), ("server_clip", clip, DESKTOP)):
            other = browser.new_context(**view).new_page()
            other.goto(where)
            other.wait_for_timeout(1000)
            if where == clip:
                show(other, moment)
            take(other, name)
            other.context.close()
        page.context.close()


def run() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a run on rendered clips; default: the demo's, in demo/")
    model = (parser.parse_args().model or trained(Path("demo"))).resolve()
    PICTURES.mkdir(exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch), sync_playwright() as playwright:
        named = Path("runs", "glyphs")  # pages name the run and the clips; paths of this machine say nothing
        named.parent.mkdir()
        named.symlink_to(model)
        videos = explained(named)
        shown = videos[0]
        of_figures(shown)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        of_pages(browser, shown)
        of_the_server(browser, named, videos[:4], best_moment(Path("explained", shown.stem)))
        browser.close()


if __name__ == "__main__":
    run()
