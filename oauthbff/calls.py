"""A call to an upstream, judged before anything is sent: for each door that lets calls pass.

The order is the contract: our own page? which upstream? whose grant? method, path and size;
permission; then a token with life left. Whether the door carries the call itself (`proxy`) or
tells somebody else to (`edge`), the answer is the same.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject, cached_property
from django.utils.module_loading import import_string
from rest_framework.request import Request

from . import forwarding, grants
from .conf import METHODS, Upstream, conf
from .door import Door, counts_as_activity, header_of
from .errors import LoginRequired
from .models import TokenGrant


class CallDoor(Door):
    """Base class: `route`, `grant`, `target` and `length` are known when the handler runs."""

    http_method_names = [name.lower() for name in (*METHODS, "OPTIONS")]

    route: Upstream
    grant: TokenGrant | None
    #: Whether the call is the handshake of a WebSocket.
    opens_socket = False

    def rest(self, **kwargs: Any) -> str:
        """`<upstream>/<path>`, as the address of this door names it."""
        raise NotImplementedError

    def raw_target(self, request: HttpRequest) -> tuple[str, str]:
        """(path below `mount`, query) as the browser wrote them."""
        raise NotImplementedError

    def body_length(self, request: HttpRequest) -> int | None:
        """The body's length in bytes, None where it is not known yet."""
        raise NotImplementedError

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        upstreams, rest = conf().upstreams, self.rest(**kwargs)
        self.embed = forwarding.embeds(upstreams, rest)
        super().initial(request, *args, **kwargs)
        self.route = forwarding.find_route(upstreams, rest)
        if self.opens_socket:
            forwarding.check_socket(self.route)
        called = request._request
        self.grant = self.find_grant(called)
        request.user, request.auth = self.lazy_user(called), self.grant
        forwarding.check_method(self.route, str(called.method))
        path, query = self.raw_target(called)
        self.target = forwarding.upstream_target(self.route, path, query)
        self.length = self.body_length(called)
        forwarding.check_length(self.route, self.length)
        self.check_permissions(request)
        self.check_throttles(request)

    @cached_property
    def mount(self) -> str:
        """The path under which this upstream is served."""
        return f"{reverse('oauthbff:api', kwargs={'rest': self.route.name})}/"

    def find_grant(self, request: HttpRequest) -> TokenGrant | None:
        """The grant whose token goes along; None on a route that does without."""
        try:
            grant = grants.carrying(request)
        except LoginRequired:
            if self.route.token == "user":  # noqa: S105 - a mode, not a password
                raise
            return None
        active = counts_as_activity(header_of(request))
        grants.touch(grant, request.session.session_key, upstream=self.route.name, active=active)
        return grant

    def lazy_user(self, request: HttpRequest) -> Any:
        """The grant's user, whose row is read if a permission asks for it."""
        grant = self.grant
        return request.user if grant is None else SimpleLazyObject(lambda: grant.user)

    def permission_denied(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; somebody without a grant is told to sign in, as DRF would."""
        if self.grant is None:
            raise LoginRequired("a permission refuses who has not signed in")
        super().permission_denied(request, *args, **kwargs)

    def get_permissions(self) -> Any:
        return [import_string(name)() for name in self.route.permissions]

    def get_throttles(self) -> Any:
        return [import_string(name)() for name in self.route.throttles]

    def token(self, *, refused: str | None = None) -> grants.AccessToken | None:
        """The token that goes along, with life left; None on a call that does without."""
        if self.grant is None or self.route.token == "none":  # noqa: S105 - a mode
            return None
        return grants.fresh_token(self.grant, resource=self.route.resource, refused=refused)
