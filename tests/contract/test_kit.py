"""The test kit as a site uses it: the page that explains it is the suite that is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.site import ROOT

PAGE = ROOT / "docs/testing.md"
FILE = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.S)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the suites of a folder as a site does: pytest and pytest-django, nothing of ours."""
    words = "-q -p no:cacheprovider -p no:randomly --ds=tests.settings -c"
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words.split(), "/dev/null", "--rootdir", folder, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_example_suite_of_the_docs_passes(tmp_path: Path):
    files = dict(FILE.findall(PAGE.read_text()))
    assert set(files) == {"conftest.py", "test_photos.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    told = run(tmp_path)

    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{files['test_photos.py'].count('def test_')} passed" in told.stdout


def test_a_suite_that_should_fail_fails(tmp_path: Path):
    """So that the test above can."""
    files = dict(FILE.findall(PAGE.read_text()))
    broken = files["test_photos.py"].replace("refreshes == 1", "refreshes == 2")
    assert broken != files["test_photos.py"]
    (tmp_path / "conftest.py").write_text(files["conftest.py"])
    (tmp_path / "test_photos.py").write_text(broken)

    told = run(tmp_path)

    assert told.returncode == 1 and "1 failed" in told.stdout, told.stdout
