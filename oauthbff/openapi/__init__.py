"""The doors as OpenAPI 3.0: for people, for generators, and for drf-spectacular.

    INSTALLED_APPS += ["drf_spectacular"]
    SPECTACULAR_SETTINGS = {
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "oauthbff.openapi.describe",
        ],
    }

`describe` joins the doors to the site's own document; the site's views that use
`BFFAuthentication` get its security scheme. `document()` needs no drf-spectacular.
"""

from __future__ import annotations

from typing import Any

from oauthbff.conf import conf

from .doors import paths
from .parts import Json, schemas, security_schemes


def document() -> Json:
    """Return the whole document of the doors alone."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "oauthbff", "version": "1", "description": ABOUT},
        "servers": [{"url": conf().base_url}],
        "paths": paths(),
        "components": {"schemas": schemas(), "securitySchemes": security_schemes()},
    }


def describe(result: Json, **_: Any) -> Json:
    """drf-spectacular's POSTPROCESSING_HOOKS: add the doors to the site's document."""
    result.setdefault("paths", {}).update(paths())
    components = result.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas())
    components.setdefault("securitySchemes", {}).update(security_schemes())
    return result


ABOUT = (
    "A Backend for Frontend: the browser holds a session cookie, the server the tokens. Every "
    "door that is fetched wants the header; every refusal of ours is a problem document "
    "(RFC 9457) with a stable `code`, also in `X-BFF-Error`."
)
