"""A page asks nothing of the network, and offers nothing that would."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_study_folder import write_study

import counterpoise
from counterpoise.report import build_report

CHROMIUM = shutil.which("chromium")
PACKAGE = Path(counterpoise.__file__).parent
PARTS = sorted(path for kind in ("*.j2", "*.js", "*.css") for path in PACKAGE.rglob(kind))
LEAVING = re.compile(r"share|cloud|upload|studio|edit|plotly|send|logo", re.IGNORECASE)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]


class Loaded(HTMLParser):
    """Addresses that a page loads by itself; what a person clicks on is not among them."""

    def __init__(self, text):
        super().__init__()
        self.found, self.styles, self._style = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._style = tag == "style"
        self.styles += "".join(value or "" for name, value in attrs if name == "style")
        self.found += [
            (tag, value)
            for name, value in attrs
            if name
            in ("src", "srcset", "href", "data", "poster", "action", "background", "xlink:href", "ping")
            and not (tag == "a" and name == "href")
            and re.match(r"\s*(https?:)?//", value or "")
        ]

    def handle_data(self, data):
        if self._style:
            self.styles += data

    def handle_endtag(self, tag):
        self._style = False


def addresses(text):
    page = Loaded(text)
    return page.found + re.findall(r"(?:@import|url\()\s*[\"']?\s*(?:https?:)?//[^\s\"')]*", page.styles)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("privacy")
    return build_report([write_study(folder / "moles")], folder / "report.html")


def test_the_scan_finds_what_it_looks_for():
    text = '<a href="https://a">x</a><img src="//b"><style>@import "http://c"; p{background:url(https://d)}</style>'
    assert len(addresses(text)) == 3


def test_pages_load_nothing_from_elsewhere(report):
    assert addresses(report.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("part", PARTS, ids=lambda path: path.name)
def test_no_part_of_any_page_loads_from_elsewhere(part):
    """Every page is made of these templates, styles and scripts, and of Plotly's script."""
    text = part.read_text(encoding="utf-8")
    assert len(PARTS) >= 10
    assert addresses(f"<style>{text}</style>" if part.suffix == ".css" else text) == []
    called = r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|window\.open)\s*\("
    assert re.findall(called, text) == []
    if part.name.endswith(".html.j2") and "<head>" in text:
        assert "default-src 'none'" in text


def test_only_one_place_makes_charts():
    """Every chart has the configuration that the browser test checks."""
    calls = {
        p.name: len(re.findall(r"Plotly\.(react|newPlot|plot)\(", p.read_text(encoding="utf-8")))
        for p in PARTS
    }
    assert {name: count for name, count in calls.items() if count} == {"charts.js": 1}
    python = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert not re.search(r"to_html\(|write_html\(|include_plotlyjs", python)


@pytest.mark.skipif(CHROMIUM is None, reason="needs the program `chromium` on the PATH")
@pytest.mark.slow
def test_no_button_of_a_chart_leaves_the_page(report):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the `test` extra)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        page = context.new_page()
        requests, opened, downloads = [], [], []
        context.on("request", lambda request: requests.append(request.url))
        context.on("page", lambda other: opened.append(other.url))
        page.on("download", lambda download: downloads.append(download.url))
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        buttons = page.locator(".modebar-btn")
        titles = [buttons.nth(i).get_attribute("data-title") or "" for i in range(buttons.count())]
        charts = page.locator(".js-plotly-plot").count()
        assert charts >= 5
        assert len(titles) >= 5 * charts
        assert [title for title in titles if LEAVING.search(title)] == []
        assert page.locator(".modebar-btn.plotlyjsicon, .modebar-btn--logo, a.modebar-btn[href]").count() == 0
        for i in range(buttons.count()):
            buttons.nth(i).dispatch_event("click")
        page.wait_for_timeout(500)
        assert opened == []
        assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert page.url == report.as_uri()
        assert page.locator("dialog[open], .plotly-dialog, [role=dialog]").count() == 0
        browser.close()
