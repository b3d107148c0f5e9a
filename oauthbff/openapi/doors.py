"""Each door: what it takes and what it answers."""

from __future__ import annotations

from django.urls import reverse

from oauthbff import errors
from oauthbff.conf import Upstream, conf

from .parts import (
    LOCATION,
    ONE,
    PROBLEM,
    SIGNED_IN,
    SIGNED_OUT,
    Json,
    html,
    json,
    query,
    ref,
    refusals,
)

SESSION_REFUSED = (errors.CSRFFailed,)
GRANT_REFUSED = (errors.CSRFFailed, errors.LoginRequired, errors.GrantEnded)
CALL_REFUSED = (
    *(errors.CSRFFailed, errors.ProviderError, errors.MethodRefused, errors.PathRefused),
    *(errors.LengthRequired, errors.BodyTooLarge, errors.BodyBroken, errors.NoSuchUpstream),
    *(errors.UpstreamUnreachable, errors.UpstreamTimeout),
)
SECURITY: list[dict[str, list[str]]] = [{"bffSession": [], "bffHeader": []}]


def paths() -> Json:
    def at(name: str, **where: str) -> str:
        return reverse(f"oauthbff:{name}", kwargs=where or None)

    return {
        at("login"): {"get": login()},
        at("callback"): {"get": callback()},
        at("session"): {"get": session()},
        at("logout"): {"post": logout()},
        at("logged-out"): {"get": page("loggedOut", "Where the provider sends the browser back.")},
        at("error"): {"get": error_page()},
        at("devices"): {"get": devices()},
        at("backchannel-logout"): {"post": backchannel()},
        at("sessions"): {"get": sessions()},
        at("other-sessions"): {"delete": end_others()},
        at("one-session", handle="HANDLE").replace("HANDLE", "{handle}"): one_session(),
        **{
            reverse("oauthbff:api", kwargs={"rest": f"{name}/"}) + "{path}": route(upstream)
            for name, upstream in conf().upstreams.items()
        },
    }


def login() -> Json:
    return {
        "operationId": "bffLogin",
        "tags": ["navigations"],
        "summary": "Sign in: navigate the window here, do not fetch it.",
        "parameters": [
            query("return_to", "A path of this site to come back to.", example="/photos"),
            query("next", "The same, as Django's `login_required` writes it."),
            *(query(name, "Passed on to the provider.") for name in ("prompt", "login_hint")),
            *(query(name, "Passed on to the provider.") for name in ("ui_locales", "max_age")),
        ],
        "responses": {
            "200": html("Another site sent the browser here: a page with a button."),
            "302": {"description": "To the provider.", "headers": LOCATION},
            "303": {"description": "To the error page.", "headers": LOCATION},
            "400": {"description": "It was fetched.", "content": PROBLEM},
        },
    }


def callback() -> Json:
    names = ("state", "code", "iss", "error")
    return {
        "operationId": "bffCallback",
        "tags": ["navigations"],
        "summary": "Where the provider sends the browser back.",
        "parameters": [query(name, "As the provider says. RFC 6749, RFC 9207.") for name in names],
        "responses": {
            "303": {"description": "To `return_to`, or to the error page.", "headers": LOCATION},
            "403": {"description": "It was fetched.", "content": PROBLEM},
        },
    }


def session() -> Json:
    schema = {"oneOf": [ref("BFFSignedIn"), ref("BFFSignedOut")]}
    return {
        "operationId": "bffSession",
        "tags": ["session"],
        "summary": "Who is signed in, and for how long yet.",
        "description": "Always 200: not being signed in is an answer, not an error.",
        "security": SECURITY,
        "parameters": [
            query("slide", "`false`: reading does not count as activity.", enum=["false"])
        ],
        "responses": {
            "200": json("Signed in or not.", schema, {"in": SIGNED_IN, "out": SIGNED_OUT}),
            **refusals(*SESSION_REFUSED),
        },
    }


def logout() -> Json:
    return {
        "operationId": "bffLogout",
        "tags": ["session"],
        "summary": "Sign out here, then navigate to `logout_url` to sign out at the provider.",
        "description": "A form post with Django's CSRF token gets a 303 instead.",
        "security": SECURITY,
        "responses": {
            "200": json("Signed out.", ref("BFFLoggedOut"), {"end": {"logout_url": None}}),
            "303": {"description": "To the provider, for a form.", "headers": LOCATION},
            **refusals(errors.CSRFFailed),
        },
    }


def error_page() -> Json:
    told = page("error", "Where a failed sign-in ends.")
    told["parameters"] = [query("bff_error", "The short code.", example="access_denied")]
    told["responses"] = {
        "200": html("One more step, from our own page."),
        "303": {"description": "Home: the user is signed in after all.", "headers": LOCATION},
        "400": html("What went wrong, in the user's words."),
    }
    return told


def devices() -> Json:
    told = page("devices", "Where the user is signed in, as a page with forms.")
    told["responses"]["302"] = {"description": "To `login/`: nobody is.", "headers": LOCATION}
    return told


def backchannel() -> Json:
    form = {
        "type": "object",
        "required": ["logout_token"],
        "properties": {"logout_token": {"type": "string"}},
    }
    return {
        "operationId": "bffBackchannelLogout",
        "tags": ["provider"],
        "summary": "The provider says that somebody has signed out there.",
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        },
        "responses": {
            "200": {"description": "Done."},
            "400": json("Refused.", {"type": "object"}, {}),
        },
    }


def sessions() -> Json:
    example = {"sessions": [{**ONE, "current": True}]}
    return {
        "operationId": "bffSessions",
        "tags": ["sessions"],
        "summary": "Where the user is signed in.",
        "security": SECURITY,
        "responses": {
            "200": json("All of them.", ref("BFFSessions"), {"one": example}),
            **refusals(*GRANT_REFUSED),
        },
    }


def one_session() -> Json:
    handle = {
        "name": "handle",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    shared: Json = {"tags": ["sessions"], "security": SECURITY}
    refused = refusals(*GRANT_REFUSED, errors.NoSuchSession)
    return {
        "parameters": [handle],
        "get": {
            "operationId": "bffOneSession",
            "summary": "One of the user's own.",
            **shared,
            "responses": {"200": json("It.", ref("BFFOneSession"), {"one": ONE}), **refused},
        },
        "delete": {
            "operationId": "bffEndSession",
            "summary": "End it. Ending this one signs out.",
            **shared,
            "responses": {"204": {"description": "Ended."}, **refused},
        },
    }


def end_others() -> Json:
    return {
        "operationId": "bffEndOtherSessions",
        "tags": ["sessions"],
        "summary": "End all but this one.",
        "security": SECURITY,
        "responses": {
            "200": json("How many.", ref("BFFEnded"), {"two": {"ended": 2}}),
            **refusals(*GRANT_REFUSED),
        },
    }


def route(upstream: Upstream) -> Json:
    kinds: tuple[type[errors.BFFError], ...] = CALL_REFUSED
    if upstream.token == "user":  # noqa: S105 - a mode
        kinds = (*kinds, errors.LoginRequired)
    token = {"user": "the user's access token", "none": "no token"}.get(
        upstream.token, "the user's access token, if there is one"
    )
    path = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "parameters": [{**path, "description": "What follows, slashes included."}],
        **{
            method.lower(): {
                "operationId": f"bffApi_{upstream.name}_{method.lower()}",
                "tags": [f"api: {upstream.name}"],
                "summary": f"Passed on to {upstream.name} with {token}.",
                "security": SECURITY,
                "responses": {
                    "default": {"description": "What the API answers, streamed."},
                    **refusals(*kinds, more=("not_allowed", "throttled")),
                },
            }
            for method in upstream.methods
        },
    }


def page(name: str, summary: str) -> Json:
    return {
        "operationId": f"bff{name[0].upper()}{name[1:]}Page",
        "tags": ["navigations"],
        "summary": summary,
        "responses": {"200": html("A page.")},
    }
