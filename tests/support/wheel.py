"""The package as a site gets it: a wheel, built from a copy so that no stale build/ joins in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.site import ROOT

PARTS = ("oauthbff", "pyproject.toml", "README.md", "LICENSE")


def build(folder: Path) -> Path:
    """Build the wheel into `folder` and return its path."""
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        path = ROOT / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    words = "-m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir"
    subprocess.run(
        [sys.executable, *words.split(), folder, source],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=180,
    )
    [wheel] = folder.glob("*.whl")
    return wheel
