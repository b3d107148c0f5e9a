"""For drf-spectacular: what the site's views with `BFFAuthentication` ask for."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from .parts import security_schemes


class BFFAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The session cookie and the header, both."""

    target_class = "oauthbff.authentication.BFFAuthentication"
    name = ["bffSession", "bffHeader"]  # noqa: RUF012

    def get_security_definition(self, auto_schema: Any) -> list[Any]:
        return list(security_schemes().values())

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[Any]]:
        return {name: [] for name in self.name}
