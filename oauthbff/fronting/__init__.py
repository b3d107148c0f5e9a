"""The configuration of a proxy in front: what `manage.py oauthbff_edge` writes. Pure.

`Front` is what the operator says, `conf` what the settings say; the rules that a proxy's own
language can express are taken from `forwarding`, so that they are written down once.

    words   what every such configuration has to say, in no proxy's language yet
    nginx   in nginx's
    caddy   in Caddy's
"""

from __future__ import annotations

from . import caddy, nginx
from .words import Front

#: Name → (the whole configuration as text, the words of the proxy's own test of it).
PROXIES = {"nginx": nginx, "caddy": caddy}

__all__ = ["PROXIES", "Front"]
