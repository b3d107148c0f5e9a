"""Pages of docs/ that are made from the code; WRITE_DOCS=1 writes them."""

from __future__ import annotations

import os
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- generated -->\n", "<!-- /generated -->\n"


def check_page(name: str, table: str) -> None:
    """Assert that the part of a page between its two marks is what the code says."""
    page = DOCS / name
    head, rest = page.read_text().split(BEGIN)
    _, tail = rest.split(END)
    whole = f"{head}{BEGIN}{table}{END}{tail}"
    if os.environ.get("WRITE_DOCS"):
        page.write_text(whole)
    assert page.read_text() == whole, f"docs/{name} is old: run its test with WRITE_DOCS=1"
