"""The Chromium in which the tests open notebooks: `python -m tools.chromium` finds one or installs one.

Without one the browser tests are skipped, so a failed installation is said in a line and is no error.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOG = Path(sys.prefix) / "chromium.log"


def find() -> str | None:
    """A Chromium that runs: $CHROMIUM, one on PATH, or Playwright's own."""
    named = (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES))
    return next((path for path in named if path and _runs(path)), None) or _playwrights()


def _runs(path: str) -> bool:
    """Ask it, since Ubuntu's chromium-browser may be a stub that only says where to get one."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _playwrights() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if _runs(path) else None


def install() -> None:
    """Debian's package where this user may install it, and Playwright's build everywhere else."""
    apt = _apt()
    if apt and "ID=debian" in Path("/etc/os-release").read_text().splitlines():
        _try([*apt, "update"])
        if _try([*apt, "install", "-y", "--no-install-recommends", "chromium"]):
            return
    with_libraries = ["--with-deps"] if apt else []
    _try([sys.executable, "-m", "playwright", "install", *with_libraries, "chromium"])


def _apt() -> list[str] | None:
    """How to call apt-get without being asked for a password, if that is possible."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if shutil.which("sudo") and _try(["sudo", "-n", "true"]):
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    return None


def _try(command: list[str]) -> bool:
    with LOG.open("a") as log:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, timeout=600
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


if __name__ == "__main__" and not find():
    print(f"Installing Chromium for the browser tests (log: {os.path.relpath(LOG)})", flush=True)
    install()
    if not find():
        print("No Chromium: the browser tests are skipped. Install one, or name it: CHROMIUM=/path/to/chromium")
