"""Make the pictures of the documents: the report of `counterpoise demo`, as a browser shows it.

    python docs/make_pictures.py

Needs Chromium and the test extra.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1100, 1500
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = "from counterpoise.cli.main import main; main()"
        subprocess.run([sys.executable, "-c", command, "demo", "--out", str(out / "demo")], check=True)
        photograph(out / "demo" / "report.html", out / "report.png")
        picture = Image.open(out / "report.png").convert("RGB")
        picture.quantize(128).save(HERE / "report.png", optimize=True)


def photograph(page_path: Path, target: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(page_path.as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    main()
