"""The example site's doors, and the view of docs/views.md."""

from __future__ import annotations

from typing import Any

from django.urls import path

from project.urls import urlpatterns as of_the_site
from tests.support.site import ROOT

page = (ROOT / "docs" / "views.md").read_text()
_, _, code = page.partition("```python\n# views.py\n")
written: dict[str, Any] = {}
exec(compile(code.partition("```")[0], "docs/views.md", "exec"), written)

urlpatterns = [path("orders/", written["PrintOrder"].as_view()), *of_the_site]
