"""Error pages and mails without our secrets, DEBUG pages included.

    DEFAULT_EXCEPTION_REPORTER = "oauthbff.reporting.ExceptionReporter"
    DEFAULT_EXCEPTION_REPORTER_FILTER = "oauthbff.reporting.ExceptionReporterFilter"

Django's own filter hides by the names of settings and variables, and nothing at all while
DEBUG is on. Ours shows no variable of a frame that handles tokens, no cookie, and no parameter
that a provider sends, in a query or in a form.
"""

from __future__ import annotations

import re
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views import debug

HIDDEN = debug.SafeExceptionReporterFilter.cleansed_substitute
#: Packages whose frames may hold tokens, codes and keys in any variable.
CLOSED = frozenset(
    """
    oauthbff mozilla_django_oidc joserfc jwt cryptography boto3 botocore
    urllib3 requests http httpx ssl email
    """.split()
)
#: What providers and our own doors put into a query. RFC 6749 §4.1.2; OIDC RP-Initiated Logout.
PARAMETERS = frozenset({"code", "state", "iss", "session_state", "id_token_hint", "logout_token"})
#: What only a proxy in front shows: OAUTHBFF["EDGE_SECRET"].
SHOWN_BY_A_PROXY = "HTTP_X_BFF_EDGE"
#: Where servers write a URL with its query.
WITH_QUERY = ("QUERY_STRING", "RAW_URI", "REQUEST_URI", "HTTP_REFERER", "UNENCODED_URL")


class ExceptionReporterFilter(debug.SafeExceptionReporterFilter):
    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_safe_request_meta(self, request: HttpRequest) -> dict[str, Any]:
        meta: dict[str, Any] = super().get_safe_request_meta(request)
        for name in WITH_QUERY:
            if name in meta:
                meta[name] = _without_values(str(meta[name]))
        if SHOWN_BY_A_PROXY in meta:
            meta[SHOWN_BY_A_PROXY] = HIDDEN
        return meta

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        return dict.fromkeys(super().get_safe_cookies(request), HIDDEN)

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {
            name: HIDDEN if name in PARAMETERS or self.hidden_settings.search(name) else value
            for name, value in super().get_post_parameters(request).items()
        }

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> Any:
        if str(tb_frame.f_globals.get("__name__", "")).partition(".")[0] in CLOSED:
            return [(name, HIDDEN) for name in tb_frame.f_locals]
        return [
            (name, HIDDEN if self.hidden_settings.search(name) else value)
            for name, value in super().get_traceback_frame_variables(request, tb_frame)
        ]


class ExceptionReporter(debug.ExceptionReporter):
    def get_traceback_data(self) -> dict[str, Any]:
        data: dict[str, Any] = super().get_traceback_data()
        for frame in data.get("frames", ()):  # a request's repr is its address, query and all
            shown = frame.get("vars", ())
            frame["vars"] = [(name, _without_values(str(value))) for name, value in shown]
        if self.request is not None:
            data["request_GET_items"] = [
                (name, HIDDEN if name in PARAMETERS else value)
                for name, value in self.request.GET.items()
            ]
            uri = data.get("request_insecure_uri")
            data["request_insecure_uri"] = uri and _without_values(str(uri))
        return data


def _without_values(text: str) -> str:
    """A URL or query in which our parameters have lost their values."""
    names = "|".join(sorted(PARAMETERS))
    return re.sub(rf"(^|[?&;])({names})=[^&;#\s]*", rf"\1\2={HIDDEN}", text)
