"""login/ and callback/: to the provider and back."""

from __future__ import annotations

import ipaddress
import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.contrib import auth
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.encoding import iri_to_uri
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View
from mozilla_django_oidc.views import (
    OIDCAuthenticationCallbackView,
    OIDCAuthenticationRequestView,
)

from oauthbff import events, grants, origin, provider
from oauthbff.conf import conf
from oauthbff.door import PlainDoor, harden, problem
from oauthbff.errors import (
    BFFError,
    GrantEnded,
    KeyStoreUnavailable,
    LoginFailed,
    LoginRequired,
    ProviderError,
)
from oauthbff.models import EndReason, TokenGrant

from .pages import page, see_other, show_failure
from .pending import TRANSACTION_SECONDS, Transaction, drop, make_room
from .seam import Aside, Seam, SignIn, redirect_uri

LONGEST_CODE = 4096
#: How long the cookie outlives the grant's greatest age.
REASON_SECONDS = 3600
#: Where to come back to: our name for it, and the one that Django's `login_required` writes.
RETURN_PARAMETERS = ("return_to", REDIRECT_FIELD_NAME)
#: What a link to login/ may add to the authorization request; all else is configuration.
EXTRA_PARAMETERS = ("prompt", "login_hint", "ui_locales", "max_age")
#: Authorization error codes that the browser is told as they are.
#: RFC 6749 §4.1.2.1; OIDC Core 1.0 §3.1.2.6.
KNOWN_ERRORS = frozenset(
    """
    access_denied login_required interaction_required consent_required
    account_selection_required temporarily_unavailable server_error
    """.split()
)


@method_decorator(csrf_exempt, name="dispatch")  # GET alone: a POST is told so
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class LoginDoor(PlainDoor, Seam, OIDCAuthenticationRequestView):
    """Send the browser to the provider."""

    def __init__(self, **kwargs: Any) -> None:
        View.__init__(self, **kwargs)  # the parent's asks for endpoints before there is a request

    def get(self, request: HttpRequest) -> HttpResponse:
        if not origin.is_navigation(request.headers.get):
            return problem(400, "not_a_navigation", "Navigate the window here; do not fetch it.")
        if origin.came_from_elsewhere(request.headers.get):
            return confirm_login(request)
        try:
            self.OIDC_OP_AUTH_ENDPOINT = provider.metadata().authorization_endpoint
        except ProviderError as exc:
            return show_failure(request, exc)
        self.OIDC_RP_CLIENT_ID = conf().client_id
        session, request.session = request.session, Aside()  # type: ignore[assignment]
        try:
            redirect = super().get(request)
            begun = request.session
        finally:
            request.session = session
        try:
            location = self.location(redirect["Location"])
        except ProviderError as exc:
            return show_failure(request, exc)
        parameters = self.get_extra_params(request)
        [(state, entry)] = begun["oidc_states"].items()
        current = Transaction(
            state=state,
            nonce=entry["nonce"],
            code_verifier=entry["code_verifier"],
            issuer=conf().issuer,
            return_to=return_to(request),
            started_at=int(time.time()),
            max_age=int(parameters["max_age"]) if "max_age" in parameters else None,
            replaces=handle_of(request),
        )
        response = HttpResponse(status=302)
        response["Location"] = location
        try:
            current.save(response)
            make_room(request, response, current)
        except KeyStoreUnavailable as exc:
            return show_failure(request, exc)
        return harden(response)

    def location(self, built: str) -> str:
        """Where to send the browser: the parent's URL, or a reference to the pushed request.

        The parent appends `?query`, also to an endpoint that has a query. RFC 6749 §3.1.
        """
        endpoint, metadata = self.OIDC_OP_AUTH_ENDPOINT, provider.metadata()
        query = built[len(endpoint) + 1 :]
        if conf().par or metadata.par_required:
            request_uri = provider.push(dict(parse_qsl(query)))
            query = urlencode({"client_id": conf().client_id, "request_uri": request_uri})
        return endpoint + ("&" if "?" in endpoint else "?") + query

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        """What joins or replaces the parent's parameters: our redirect_uri, and little else."""
        parameters = {"redirect_uri": redirect_uri()}
        for name in EXTRA_PARAMETERS:
            value = request.GET.get(name, "")
            if 0 < len(value) <= 255 and value.isprintable():
                parameters[name] = value
        if not re.fullmatch("[0-9]{1,10}", parameters.get("max_age", "0")):
            del parameters["max_age"]
        return parameters


def handle_of(request: HttpRequest) -> str | None:
    """The handle of the grant this browser has now, if it still stands."""
    try:
        return str(grants.current(request).pk)
    except LoginRequired:
        return None


def return_to(request: HttpRequest) -> str:
    """Where the user wants to be afterwards; home when that is not on this site."""
    given = (request.GET[name] for name in RETURN_PARAMETERS if request.GET.get(name))
    wanted = iri_to_uri(next(given, ""))
    host = urlsplit(conf().base_url).netloc
    if wanted and origin.stays_here(wanted, host=host, closed=mount()):
        return wanted
    return conf().home_url


def mount() -> str:
    return reverse("oauthbff:login").removesuffix("login/")


def confirm_login(request: HttpRequest) -> HttpResponse:
    """Another site sent the browser: a login wants the user's own click. FAPI 2.0 §5.3.3.1."""
    names = (*RETURN_PARAMETERS, *EXTRA_PARAMETERS)
    return page(
        request,
        "confirm_login",
        {
            "login_url": reverse("oauthbff:login"),
            "site": urlsplit(conf().base_url).netloc,
            "fields": [(name, request.GET[name]) for name in names if name in request.GET],
        },
    )


@method_decorator(csrf_exempt, name="dispatch")  # GET alone: a POST is told so
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class CallbackDoor(PlainDoor, Seam, OIDCAuthenticationCallbackView):
    """The browser comes back: code to tokens, tokens to grant, grant to session."""

    issued = False

    def get(self, request: HttpRequest) -> HttpResponse:
        if not origin.is_navigation(request.headers.get):
            return problem(403, "not_a_navigation", "Only a window may come here.")
        current: Transaction | None = None
        try:
            current = self.transaction(request)
            response = self.sign_in(request, current)
        except BFFError as exc:
            response = self.way_on(request, exc)
        except Exception:
            events.login_broke(trace=True)
            response = show_failure(request, LoginFailed("login_failed", "see the log above"))
        if current is not None:
            drop(response, current.cookie)
        return response

    def transaction(self, request: HttpRequest) -> Transaction:
        """Return the live login that this answer belongs to, spent. Raises `LoginFailed`."""
        for name in ("state", "code", "error", "iss"):
            if len(request.GET.getlist(name)) > 1:
                raise LoginFailed("bad_response", f"{name} comes twice")
        state = request.GET.get("state", "")
        found = Transaction.of(request, state)
        if found is None:
            raise LoginFailed("login_expired", "no login of this browser has that state")
        if found.is_over or found.issuer != conf().issuer:
            raise LoginFailed("login_expired", "the login was begun too long ago")
        if not grants.spend("state", state, seconds=2 * TRANSACTION_SECONDS):
            raise LoginFailed("login_replayed", "this answer was used before")
        return found

    def sign_in(self, request: HttpRequest, current: Transaction) -> HttpResponse:
        judge_issuer(request)
        if "error" in request.GET:
            error = request.GET["error"]
            known = error if error in KNOWN_ERRORS else "provider_error"
            raise LoginFailed(known, f"the provider answered {provider.safe_code(error)}")
        if not 0 < len(request.GET.get("code", "")) <= LONGEST_CODE:
            raise LoginFailed("bad_response", "no usable code")
        self.outcome = SignIn(transaction=current)
        request._oauthbff_sign_in = self.outcome  # type: ignore[attr-defined]
        self.session = request.session
        request.session = Aside()  # type: ignore[assignment]
        entry = {"nonce": "in the sealed transaction", "code_verifier": "in the sealed transaction"}
        request.session["oidc_states"] = {current.state: entry}
        try:
            super().get(request)
            if self.outcome.failure is not None:
                raise self.outcome.failure
        except BaseException:
            self.undo()
            raise
        finally:
            request.session = self.session
        return see_other(current.return_to)

    def login_success(self) -> HttpResponse:
        request, outcome = self.request, self.outcome
        assert outcome.tokens is not None  # noqa: S101 - the backend exchanged them
        request.session = self.session
        before = {outcome.transaction.replaces, str(request.session.get(grants.HANDLE) or "")}
        auth.login(request, self.user, backend="oauthbff.login.OIDCBackend")
        # login() cycles the key, except for a user who was signed in already, and
        # flushes it for another one: in each case there is a new key from here on.
        request.session.cycle_key()
        # A little longer than the grant, so that the SPA can still be told how it ended.
        request.session.set_expiry(conf().absolute_timeout + REASON_SECONDS)
        grants.forget_current(request)
        grant = grants.issue(
            user=self.user,
            tokens=outcome.tokens,
            subject=outcome.id_claims["sub"],
            sid=outcome.id_claims.get("sid", ""),
            authenticated_at=datetime.fromtimestamp(outcome.id_claims["iat"], tz=UTC),
            shown_claims=shown(outcome.claims),
            first={name: outcome.id_claims.get(name) for name in ("nonce", "auth_time")},
            session_key=str(request.session.session_key),
            ip=address_of(request),
            user_agent=request.headers.get("User-Agent", ""),
        )
        self.issued = True
        request.session[grants.HANDLE] = str(grant.pk)
        old = [handle for handle in before if handle]
        if old:
            grants.end(TokenGrant.objects.filter(pk__in=old), reason=EndReason.SUPERSEDED)
        try:
            grants.judge_logged_out(grant)
        except GrantEnded:
            auth.logout(request)
            raise LoginFailed("logged_out", "the provider signed the user out meanwhile") from None
        events.login_succeeded(user=self.user.pk, grant=grant.pk, ip=address_of(request))
        return see_other(outcome.transaction.return_to)

    def login_failure(self) -> HttpResponse:
        self.outcome.failure = self.outcome.failure or LoginFailed("login_failed", "not signed in")
        return HttpResponse(status=400)

    def undo(self) -> None:
        """Give the tokens of a sign-in that failed back, unless its grant holds them."""
        if self.outcome.tokens is not None and not self.issued:
            grants.give_back(self.outcome.tokens)

    def way_on(self, request: HttpRequest, exc: BFFError) -> HttpResponse:
        """The back button of a user who is signed in leads home; all else to the error page."""
        if exc.code in ("login_expired", "login_replayed") and handle_of(request) is not None:
            return see_other(conf().home_url)
        return show_failure(request, exc)


def address_of(request: HttpRequest) -> str | None:
    """The peer's address, if the server in front of us wrote one."""
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None


def shown(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims that session/ may show."""
    return {name: claims[name] for name in conf().claims if name in claims}


def judge_issuer(request: HttpRequest) -> None:
    """Who answers must be whom we asked. RFC 9207 §2.4."""
    named = request.GET.get("iss")
    if named is None and provider.metadata().names_itself:
        raise LoginFailed("wrong_issuer", "the response names no issuer")
    if named is not None and named != conf().issuer:
        raise LoginFailed("wrong_issuer", "the response comes from another issuer")
