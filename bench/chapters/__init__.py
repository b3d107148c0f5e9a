"""What is measured, one chapter each. They return plain figures; `report` makes sentences of them.

A `Figures` goes into docs/benchmark/figures.json as it is.
"""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]
