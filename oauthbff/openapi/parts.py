"""What the doors are described with: schemas, examples, problem documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from oauthbff import errors
from oauthbff.conf import conf
from oauthbff.models import EndReason

Json = dict[str, Any]

REASONS = [str(reason) for reason in EndReason.values]

MORE = {
    "not_allowed": (403, "not_allowed", "You may not do this."),
    "throttled": (429, "throttled", "Too many calls."),
}
ERROR = {"X-BFF-Error": {"description": "The `code`.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"schema": {"type": "string"}}}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/BFFProblem"}}}
HANDLE = "0f1e2d3c-4b5a-4968-8778-695a4b3c2d1e"
GRANT = {
    "handle": HANDLE,
    "scopes": ["openid", "photos.read"],
    "created_at": "2026-11-25T09:30:00+00:00",
    "idle_expires_in": 1799,
    "expires_in": 28799,
}
SIGNED_IN = {
    "authenticated": True,
    "user": {"sub": "24400320", "name": "Jane", "email": "jane@example.com"},
    "grant": GRANT,
    "upstreams": ["photos"],
    "login_url": "/bff/login/",
    "logout_url": "/bff/logout/",
}
SIGNED_OUT = {"authenticated": False, "login_url": "/bff/login/", "ended": "idle"}
ONE = {
    "handle": HANDLE,
    "current": False,
    "device": "Firefox on Linux",
    "ip": "192.0.2.7",
    "created_at": "2026-11-25T09:30:00+00:00",
    "last_used_at": "2026-11-25T10:00:00+00:00",
}


def query(name: str, description: str, *, example: str | None = None, **schema: Any) -> Json:
    told: Json = {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "string", **schema},
    }
    return told if example is None else {**told, "example": example}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def json(description: str, schema: Json, examples: Json) -> Json:
    media: Json = {"schema": schema}
    if examples:
        media["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"description": description, "content": {"application/json": media}}


def html(description: str) -> Json:
    return {"description": description, "content": {"text/html": {"schema": {"type": "string"}}}}


def refusals(*kinds: type[errors.BFFError], more: tuple[str, ...] = ()) -> Json:
    """Problem documents by status, with an example for each code."""
    found: dict[str, Json] = {}
    for status, code, title in sorted({*described(kinds), *(MORE[code] for code in more)}):
        example: Json = {"type": "about:blank", "title": title, "status": status, "code": code}
        if code == "grant_ended":
            example["reason"] = "idle"
        told = found.setdefault(str(status), {"description": "", "content": {}, "headers": ERROR})
        told["description"] = f"{told['description']} {title}".strip()
        media = told["content"].setdefault("application/problem+json", {"examples": {}})
        media["schema"] = ref("BFFProblem")
        media["examples"][code] = {"value": example}
    return found


def described(kinds: tuple[type[errors.BFFError], ...]) -> Iterator[tuple[int, str, str]]:
    for kind in kinds:
        yield kind.status, kind.code, str(kind.title)


def entity(example: Json, **overrides: Json) -> Json:
    """A schema after an example: every member is there, always."""
    kinds = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    properties: Json = {}
    for name, value in example.items():
        properties[name] = overrides.get(name) or {"type": kinds[type(value)]}
        if isinstance(value, list):
            properties[name]["items"] = {"type": "string"}
        if name.endswith("_at"):
            properties[name]["format"] = "date-time"
    return {"type": "object", "required": list(example), "properties": properties}


def schemas() -> Json:
    reason: Json = {"type": "string", "enum": REASONS}
    one = entity(ONE, ip={"type": "string", "nullable": True})
    return {
        "BFFProblem": {
            "type": "object",
            "required": ["type", "title", "status", "code"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string"},
                "detail": {"type": "string"},
                "reason": reason,
            },
        },
        "BFFSignedIn": entity(
            SIGNED_IN,
            authenticated={"type": "boolean", "enum": [True]},
            user={"type": "object", "required": ["sub"], "additionalProperties": True},
            grant=entity(GRANT),
        ),
        "BFFSignedOut": entity(
            SIGNED_OUT,
            authenticated={"type": "boolean", "enum": [False]},
            ended={**reason, "nullable": True, "enum": [*REASONS, None]},
        ),
        "BFFLoggedOut": {
            "type": "object",
            "required": ["logout_url"],
            "properties": {"logout_url": {"type": "string", "nullable": True}},
        },
        "BFFOneSession": one,
        "BFFSessions": {
            "type": "object",
            "required": ["sessions"],
            "properties": {"sessions": {"type": "array", "items": ref("BFFOneSession")}},
        },
        "BFFEnded": {
            "type": "object",
            "required": ["ended"],
            "properties": {"ended": {"type": "integer"}},
        },
    }


def security_schemes() -> Json:
    return {
        "bffSession": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        "bffHeader": {
            "type": "apiKey",
            "in": "header",
            "name": conf().header,
            "description": "Always `1`: another site cannot send it without a preflight.",
        },
    }
