"""backchannel-logout/: the provider says that somebody has signed out there.

Not for browsers: no cookie, no CSRF token, no Fetch Metadata. The answer is 200
or 400 and nothing else, whatever comes. OIDC Back-Channel Logout 1.0 §2.5 to §2.8.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt

from . import events, grants, provider
from .door import PlainDoor, harden, where
from .errors import BFFError, TokenRejected

MAX_BODY_BYTES = 256 * 1024
FORM = "application/x-www-form-urlencoded"


@method_decorator(csrf_exempt, name="dispatch")
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class BackchannelLogoutDoor(PlainDoor):
    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        try:
            ended = grants.leave(provider.judge_logout_token(logout_token(request)))
        except (BFFError, DatabaseError) as exc:
            events.logout_token_refused(exc, ip=request.META.get("REMOTE_ADDR"))
            return refusal(exc.reason if isinstance(exc, TokenRejected) else "try_again")
        except Exception:  # the site's cache is away, a receiver of its signals breaks
            events.view_broke(trace=True, **where(request))
            return refusal("try_again")
        events.backchannel_logout(ended=ended)
        return harden(HttpResponse(status=200))


def refusal(reason: str) -> HttpResponse:
    body = {"error": "invalid_request", "error_description": reason}
    return harden(JsonResponse(body, status=400))


def logout_token(request: HttpRequest) -> str:
    """Return the one `logout_token` of a form post. Raises `TokenRejected`."""
    if request.method != "POST" or request.content_type != FORM:
        raise TokenRejected("not_a_form_post")
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise TokenRejected("too_long")
    try:
        tokens = parse_qs(body.decode("ascii"), max_num_fields=50).get("logout_token", [])
    except ValueError:
        raise TokenRejected("malformed") from None
    if len(tokens) != 1:
        raise TokenRejected("malformed", "exactly one logout_token is wanted")
    return tokens[0]
