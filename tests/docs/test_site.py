"""The documentation as a site: it builds without a warning, and asks nothing of the network."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from inspect import isclass, isfunction
from pathlib import Path
from typing import Any

import pytest
import yaml
from blocks import ROOT
from browsing import open_page

# What a browser fetches by itself; a link is followed by the reader.
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("video", "src"), ("iframe", "src")}
OUTSIDE = re.compile(r"^(https?:)?//")


class Fetches(HTMLParser):
    """Addresses outside of the site that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "link" and known.get("rel") in ("canonical", "next", "prev"):
            return
        self.outside += [
            f"{tag} {value}" for name, value in attributes if (tag, name) in FETCHED and OUTSIDE.match(value or "")
        ]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: a link, an anchor or a page that leads nowhere is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    outside = {}
    for page in pages:
        parser = Fetches()
        parser.feed(page.read_text(encoding="utf-8"))
        outside[page.name] = parser.outside
    assert not {name: found for name, found in outside.items() if found}
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style.name


@pytest.mark.slow
def test_the_reference_has_the_public_names(site: Path) -> None:
    from whenwhere import layers, localization, models, rendering, video

    for name, module in (("layers", layers), ("models", models), ("localization", localization),
                         ("rendering", rendering), ("video", video)):  # fmt: skip
        text = (site / "api" / f"{name}.html").read_text(encoding="utf-8")
        described = [
            each for each in module.__all__ if isclass(getattr(module, each)) or isfunction(getattr(module, each))
        ]
        assert not [each for each in described if f'id="whenwhere.{name}.{each}"' not in text]
    text = (site / "api" / "recognizer.html").read_text(encoding="utf-8")
    assert 'id="whenwhere.recognizer.Recognizer.explain"' in text


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(#[^)]+)?\)", text)
    assert targets
    assert not [target for target, _ in targets if not OUTSIDE.match(target) and not (ROOT / target).exists()]


def test_every_page_is_in_the_navigation() -> None:
    text = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = sorted(_leaves(yaml.safe_load(text)["nav"]))
    assert listed == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")), "once"


def _leaves(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for each in entry.values() if isinstance(entry, dict) else entry:
            yield from _leaves(each)


def test_numbers_of_the_concepts_are_those_measured() -> None:
    """Quoted, not measured there: each stands in a page that says how it was got."""
    sources = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in
                        ("docs/results.md", "docs/protocols.md", "README.md"))  # fmt: skip
    known = set(re.findall(r"\d+\.\d+", sources))
    quoted = re.findall(r"(?<![\w.])\d+\.\d+", (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8"))
    assert len(quoted) > 20
    assert not [number for number in quoted if number not in known]


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def serious(page: Any) -> list[str]:
    """What axe-core finds of the two gravest kinds."""
    checker = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = checker.Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("serious", "critical")]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_site_in_a_browser(browser: Any, address: str, scheme: str) -> None:
    """Search works, a phone shows no page wider than itself, nothing leaves the machine, nothing goes wrong."""
    opened = open_page(browser, f"{address}/index.html", "document.readyState == 'complete'", color_scheme=scheme)
    page = opened.page
    assert (
        page.evaluate("document.body.getAttribute('data-md-color-scheme')")
        == {"light": "default", "dark": "slate"}[scheme]
    )
    page.keyboard.press("/")
    page.keyboard.type("Grad-CAM")
    page.wait_for_selector(".md-search-result__item")
    page.keyboard.press("Escape")
    for name in ("tutorial", "api/structures"):
        page.goto(f"{address}/{name}.html")
        assert not serious(page), name
    page.set_viewport_size({"width": 380, "height": 800})
    for name in ("index", "tutorial", "concepts", "results", "api/models", "howto/data", "troubleshooting"):
        page.goto(f"{address}/{name}.html")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 380, f"{name} is {wide} pixels wide"
    assert not [url for url in opened.requests if not url.startswith((address, "data:", "blob:"))]
    assert not opened.errors
    page.context.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "api/index"])
def test_search_works_from_disk(browser: Any, site: Path, name: str) -> None:
    opened = open_page(browser, (site / f"{name}.html").as_uri(), "document.readyState == 'complete'")
    page = opened.page
    page.keyboard.press("/")
    page.keyboard.type("filmstrip")
    page.wait_for_selector(".md-search-result__link")
    page.locator(".md-search-result__link").first.click()
    page.wait_for_load_state()
    assert page.url.startswith(site.as_uri())
    assert page.url.split("/")[-1] != "index.html"
    assert "filmstrip" in page.inner_text("article").lower()
    assert not [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert not opened.errors
    page.context.close()
