"""docs/threat-model.md names tests as evidence: they exist, and no line is without."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def existing_tests() -> set[str]:
    return {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 50
    assert named - existing_tests() == set()
    files = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)
    assert files and all((ROOT / file).exists() for file in files)


def test_every_line_has_its_evidence() -> None:
    rows = re.findall(r"^\| (can|cannot) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 40
    for can, what, shown_by in rows:
        assert "`test" in shown_by or shown_by.startswith("no test: "), (can, what)
        # What somebody cannot do is never just claimed.
        assert can == "can" or "`test" in shown_by, what


def test_every_attacker_has_a_chapter() -> None:
    chapters = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert len(chapters) == 10, chapters
