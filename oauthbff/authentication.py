"""DRF authentication by our session: for the site's own DRF views.

    class Orders(APIView):
        authentication_classes = [BFFAuthentication]
        permission_classes = [IsAuthenticated]

`request.user` is the grant's user and `request.auth` the `TokenGrant`. The rule
against forged calls is that of our doors: the header `X-BFF: 1`, also on GET.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework import status, views
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.request import Request

from . import grants, origin
from .conf import conf
from .door import counts_as_activity, problem_of
from .errors import BFFError, CSRFFailed, GrantEnded, LoginRequired
from .models import TokenGrant


class BFFAuthentication(BaseAuthentication):
    """401 `grant_ended`, 403 `csrf_failed`; nobody, and so DRF's own 401, without a session."""

    def authenticate(self, request: Request) -> tuple[Any, TokenGrant] | None:
        http_request = request._request
        try:
            origin.check_fetch(
                str(http_request.method),
                http_request.headers.get,
                name=conf().header,
                base_url=conf().base_url,
            )
            grant = grants.current(http_request)
        except CSRFFailed as exc:
            raise _Refused(exc) from None
        except GrantEnded as exc:
            raise _Refused(exc) from None
        except LoginRequired:
            return None
        if counts_as_activity(http_request.headers.get):
            grants.touch(grant, http_request.session.session_key)
        return grant.user, grant

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401, which the SPA tells from 403."""
        return "Session"


def exception_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Let the site's views refuse as our doors do; for `REST_FRAMEWORK["EXCEPTION_HANDLER"]`.

    Our errors become problem documents, all others are DRF's matter. RFC 9457.
    """
    if isinstance(exc, _Refused):
        exc = exc.error
    elif isinstance(exc, NotAuthenticated) and _asks_us(context.get("view")):
        exc = LoginRequired("the view asks for somebody who has signed in")
    if not isinstance(exc, BFFError):
        return views.exception_handler(exc, context)
    views.set_rollback()
    return problem_of(exc)


def _asks_us(view: Any) -> bool:
    return any(isinstance(one, BFFAuthentication) for one in view.get_authenticators())


class _Refused(APIException):
    """One of our errors in DRF's clothes."""

    def __init__(self, error: BFFError) -> None:
        super().__init__()
        self.error = error
        body: Any = {"title": error.title, "status": error.status, "code": error.code}
        self.detail = {**body, **error.extra}
        self.status_code = error.status
        self.auth_header = "Session" if error.status == status.HTTP_401_UNAUTHORIZED else None
