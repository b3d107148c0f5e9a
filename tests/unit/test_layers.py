"""The law of imports (pyproject.toml, [tool.importlinter]) holds."""

from __future__ import annotations

import subprocess
import sys

from tests.support.site import ROOT


def test_rooms_import_one_way():
    told = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr
    assert "0 broken" in told.stdout
