"""What was asked, as ASGI tells it: read once, no decisions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.urls import reverse

from oauthbff import forwarding
from oauthbff.conf import Upstream, conf

Scope = Mapping[str, Any]


class Asked:
    """A call's or a WebSocket handshake's head."""

    __slots__ = ("address", "headers", "method", "mount", "path", "scope")

    def __init__(self, scope: Scope, mount: str) -> None:
        self.scope = scope
        #: The path under which the upstreams are served; `path` begins with it.
        self.mount = mount
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        client = scope.get("client")
        self.address: str | None = client[0] if client else None
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            if b"_" in raw_name:
                continue  # Django leaves these out as well: they pass for others behind WSGI
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            before = self.headers.get(name)
            if before is not None:
                value = f"{before}{'; ' if name == 'cookie' else ','}{value}"
            self.headers[name] = value

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    @property
    def rest(self) -> str:
        """`<upstream>/<path>`."""
        return self.path[len(self.mount) :]

    def mount_of(self, route: Upstream) -> str:
        """The path under which this upstream is served."""
        return f"{self.mount}{route.name}/"

    def target(self, route: Upstream) -> str:
        """What to ask the upstream for. Raises what refuses the path."""
        path, query = forwarding.raw_target(
            self.mount_of(route),
            self.scope["query_string"].decode("latin-1"),
            asgi_path=self.scope.get("raw_path"),
            wsgi_target=None,
            decoded=self.path,
        )
        return forwarding.upstream_target(route, path, query)

    @property
    def cookies(self) -> bytes:
        return self.headers.get("cookie", "").encode("latin-1")

    @property
    def request_id(self) -> str | None:
        """What a front server calls it, where the settings say in which header."""
        name = conf().request_id_header
        return self.header(name) if name else None

    @property
    def came_as_it_should(self) -> bool:
        """Whether Django would look at it: for a host of ours, and over TLS where it insists."""
        return self.has_our_host and (self.is_secure or not settings.SECURE_SSL_REDIRECT)

    @property
    def is_secure(self) -> bool:
        """As `HttpRequest.is_secure`."""
        told = settings.SECURE_PROXY_SSL_HEADER
        if told:
            value = self.headers.get(told[0].removeprefix("HTTP_").replace("_", "-").lower())
            if value is not None:
                return bool(value.split(",", 1)[0].strip() == told[1])
        return self.scope.get("scheme") in ("https", "wss")

    @property
    def has_our_host(self) -> bool:
        """Whether Django would take the host for one of ours."""
        host = self.headers.get("host", "")
        if settings.USE_X_FORWARDED_HOST:
            host = self.headers.get("x-forwarded-host", host)
        return _is_ours(host)

    @property
    def where(self) -> dict[str, Any]:
        """For an event."""
        return {"method": self.method, "path": self.path, "ip": self.address}


def mount_of(scope: Scope) -> str:
    """The path under which the upstreams are served."""
    return _mount(settings.FORCE_SCRIPT_NAME or scope.get("root_path", ""))


@lru_cache(maxsize=8)
def _mount(script: str) -> str:
    return script.rstrip("/") + reverse("oauthbff:api", kwargs={"rest": ""})


@lru_cache(maxsize=256)
def _is_ours(host: str) -> bool:
    """With DEBUG and no ALLOWED_HOSTS Django has a list of its own: let Django judge there."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
