"""Every error of ours, by fault and consequence.

    BFFError                          status and code; str() is for the log only
    ├─ Misconfigured             500  the settings cannot work; nothing was started
    ├─ LoginRequired             401  no session, or a session without a grant
    │  └─ GrantEnded             401  there was a grant; `reason` says how it ended
    ├─ CSRFFailed                403  the call was not made by our own page
    ├─ NoSuchSession             404  not one of this user's own
    ├─ LoginFailed               400  a sign-in came to nothing; `code` goes to the browser
    ├─ TokenRejected             400  an ID or logout token broke a rule: `reason`
    ├─ SealBroken                500  a sealed value does not open
    │  └─ KeyLost                500  its key is not among OAUTHBFF["KEYS"]
    ├─ ProviderError             503
    │  ├─ GrantRefused           401  invalid_grant: the grant falls
    │  ├─ ProviderRefused        503  any other OAuth error: the grant stands
    │  ├─ ProviderUnreachable    503  nobody answered, or 5xx: the grant stands
    │  ├─ ProviderNonsense       503  an answer that breaks the specification
    │  └─ KeyStoreUnavailable    503  the KMS cannot be asked: the grant stands
    └─ ForwardingError           502
       ├─ NoSuchUpstream         404  nothing was sent upstream
       ├─ MethodRefused          405  nothing was sent upstream
       ├─ SocketRefused          403  a WebSocket that the route does not let pass
       ├─ PathRefused            400  nothing was sent upstream
       ├─ LengthRequired         411  nothing was sent upstream
       ├─ BodyTooLarge           413  the upstream call was given up
       ├─ BodyBroken             400  the browser's body ended early or was malformed
       ├─ UpstreamUnreachable    502
       └─ UpstreamTimeout        504

`str(error)` is written for the reader of the log and holds no secret. What the
browser gets is `status`, `code`, `title` and `extra`, nothing else.
"""

from __future__ import annotations

from typing import Any, ClassVar

#: A provider that asks for hours is asked again after this all the same, if a user waits.
LONGEST_WAIT_SECONDS = 300


class BFFError(Exception):
    """Base class. Not raised directly."""

    status: ClassVar[int] = 500
    code: str = "error"
    title: ClassVar[str] = "Something went wrong."

    @property
    def extra(self) -> dict[str, Any]:
        """Members that join the problem document beside `code`."""
        return {}

    @property
    def headers(self) -> dict[str, str]:
        return {}


class Misconfigured(BFFError):
    """The settings cannot work. `problems` is a list of (check id, sentence, hint)."""

    def __init__(self, problems: list[tuple[str, str, str]]) -> None:
        self.problems = problems
        lines = [f"{sentence} {hint}" for _, sentence, hint in problems]
        super().__init__("oauthbff is misconfigured:\n- " + "\n- ".join(lines))


class LoginRequired(BFFError):
    status = 401
    code = "login_required"
    title = "Sign in first."


class GrantEnded(LoginRequired):
    """`reason` is one of `models.EndReason`."""

    code = "grant_ended"
    title = "This sign-in has ended."

    def __init__(self, reason: str) -> None:
        super().__init__(f"the grant has ended: {reason}")
        self.reason = reason

    @property
    def extra(self) -> dict[str, Any]:
        return {"reason": self.reason}


class CSRFFailed(BFFError):
    """`advice` is for the developer of the page, and the browser is shown it."""

    status = 403
    code = "csrf_failed"
    title = "This call was not made by our own page."

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.advice = advice

    @property
    def extra(self) -> dict[str, Any]:
        return {"detail": self.advice} if self.advice else {}


class NoSuchSession(BFFError):
    status = 404
    code = "no_such_session"
    title = "You have no such session."


class LoginFailed(BFFError):
    """A sign-in came to nothing. `code` is short, stable and shown to the browser."""

    status = 400
    title = "The sign-in did not work."

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class TokenRejected(BFFError):
    """A token broke a rule. `reason` is stable, for logs and counters."""

    status = 400
    code = "token_rejected"
    title = "The provider's token was refused."

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class SealBroken(BFFError):
    """A sealed value does not open: tampered with, or moved from another row."""


class KeyLost(SealBroken):
    """The key that sealed the value is no longer configured."""


class StoreAway(Exception):
    """The lane's shared store did not answer, or not in time. Nobody is told: the database is."""


class ProviderError(BFFError):
    """Something between us and the provider. The grant stands unless it says otherwise."""

    status = 503
    code = "provider_unavailable"
    title = "The identity provider is not available just now."

    def __init__(self, detail: str, *, retry_after: int = 5) -> None:
        super().__init__(detail)
        #: Seconds, in the provider's own words if it had any.
        self.retry_after = retry_after

    @property
    def soon(self) -> int:
        """Seconds after which it is worth asking again for somebody who waits."""
        return min(self.retry_after, LONGEST_WAIT_SECONDS)

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.soon)}


class GrantRefused(ProviderError):
    """`invalid_grant`: the provider will never answer this grant again. RFC 6749 §5.2."""

    status = 401
    code = "login_expired"
    title = "The provider does not honour this sign-in any more."


class ProviderRefused(ProviderError):
    """Any other OAuth error; `error` is the provider's code. Our fault or its; the grant stands."""

    def __init__(self, error: str, *, retry_after: int = 30) -> None:
        super().__init__(f"the provider answered {error}", retry_after=retry_after)
        self.error = error


class ProviderUnreachable(ProviderError):
    """Nobody answered in time, or the answer was 5xx or 429.

    `sent` is True when the request may have been acted upon: a rotated refresh
    token may then be lost with the answer.
    """

    def __init__(self, detail: str, *, retry_after: int = 5, sent: bool = False) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.sent = sent


class ProviderNonsense(ProviderError):
    """The provider answered something that breaks the specification."""


class KeyStoreUnavailable(ProviderError):
    """The store that holds our keys cannot be asked now: as an outage of the provider."""

    title = "The key store is not available just now."


class ForwardingError(BFFError):
    status = 502
    code = "upstream_unreachable"
    title = "The API could not be reached."


class NoSuchUpstream(ForwardingError):
    status = 404
    code = "no_such_upstream"
    title = "There is no such API."


class MethodRefused(ForwardingError):
    """`allowed` goes into the `Allow` header."""

    status = 405
    code = "method_not_allowed"
    title = "This method is not allowed here."

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method[:20]!r} is not among {', '.join(allowed)}")
        self.allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class SocketRefused(ForwardingError):
    status = 403
    code = "not_allowed"
    title = "No WebSocket may be opened here."


class PathRefused(ForwardingError):
    status = 400
    code = "bad_path"
    title = "This path cannot be forwarded."


class LengthRequired(ForwardingError):
    status = 411
    code = "length_required"
    title = "Send the body with a Content-Length."


class BodyTooLarge(ForwardingError):
    status = 413
    code = "body_too_large"
    title = "The body is too large."


class BodyBroken(ForwardingError):
    status = 400
    code = "bad_body"
    title = "The body ended early."


class UpstreamUnreachable(ForwardingError):
    """`retry_after` in seconds, where nothing was sent because there is no point in it now."""

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class UpstreamTimeout(ForwardingError):
    status = 504
    code = "upstream_timeout"
    title = "The API did not answer in time."
