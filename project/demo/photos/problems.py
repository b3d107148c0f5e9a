"""Refusals, as problem details. RFC 9457; the challenges are those of RFC 6750 §3."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse


class Problem(Exception):
    """A request that we will not serve, and why."""

    def __init__(self, status: int, title: str, *, challenge: str = "", **more: Any) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.challenge = challenge
        self.more = more


class TokenMissing(Problem):
    def __init__(self) -> None:
        super().__init__(401, "An access token is needed.", challenge='Bearer realm="photos"')


class TokenInvalid(Problem):
    def __init__(self, why: str) -> None:
        challenge = f'Bearer realm="photos", error="invalid_token", error_description="{why}"'
        super().__init__(401, f"The access token is not good: {why}.", challenge=challenge)


class ScopeMissing(Problem):
    def __init__(self, scope: str) -> None:
        challenge = f'Bearer realm="photos", error="insufficient_scope", scope="{scope}"'
        super().__init__(403, f"The access token lacks the scope {scope}.", challenge=challenge)


async def problem_response(request: Request, problem: Problem) -> JSONResponse:
    body = {"title": problem.title, "status": problem.status} | problem.more
    headers = {"WWW-Authenticate": problem.challenge} if problem.challenge else {}
    return answer(body, problem.status, headers)


async def http_exception_response(request: Request, error: HTTPException) -> JSONResponse:
    """Word Starlette's own refusals (404, 405) the same way."""
    body = {"title": error.detail, "status": error.status_code}
    return answer(body, error.status_code, dict(error.headers or {}))


def answer(body: dict[str, Any], status: int, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(body, status, headers, media_type="application/problem+json")
