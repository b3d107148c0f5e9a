"""What each program of the demo is told: command line and environment, nothing else.

The environment of the BFF is the contract of `project.settings`; the other two
read `LUMEN_*` and `PHOTOS_*`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .people import PEOPLE
from .processes import Part

ROOT = Path(__file__).resolve().parents[2]
CLIENT_ID = "print-shop"
SCOPES = "openid profile email photos.read photos.write prints.order"

#: Left over from other work in the same shell, these would change what the demo shows.
FOREIGN_PREFIXES = ("OIDC_", "OAUTHBFF_", "LUMEN_", "PHOTOS_", "GUNICORN_", "UVICORN_")
FOREIGN_NAMES = {
    *("DATABASE_URL", "CACHE_URL", "SESSION_ENGINE", "DJANGO_SETTINGS_MODULE"),
    *("SESSION_COOKIE_SAMESITE", "SECURE_PROXY_SSL_HEADER", "ATOMIC_REQUESTS", "CONN_MAX_AGE"),
    *("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"),
}


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where everything is.

    BFF and provider are on different host names, which makes them different
    sites to a browser, as they would be in the world.
    """

    bff_port: int = 8000
    #: Where the print shop itself listens when a proxy in front has its port.
    django_port: int = 8100
    provider_port: int = 9000
    api_port: int = 9100

    @property
    def bff(self) -> str:
        return f"http://localhost:{self.bff_port}"

    @property
    def provider(self) -> str:
        return f"http://127.0.0.1:{self.provider_port}"

    @property
    def issuer(self) -> str:
        return f"{self.provider}/o"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"


@dataclass(frozen=True)
class Secrets:
    """Made anew for each run, unless the data of the last one is kept."""

    bff_secret_key: str = field(default_factory=secrets.token_urlsafe, repr=False)
    bff_sealing_key: str = field(
        default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode(), repr=False
    )
    provider_secret_key: str = field(default_factory=secrets.token_urlsafe, repr=False)
    client_secret: str = field(default_factory=secrets.token_urlsafe, repr=False)
    edge_secret: str = field(default_factory=secrets.token_urlsafe, repr=False)

    @classmethod
    def kept_in(cls, path: Path) -> Secrets:
        """Return the secrets at `path`; make them if there are none."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        made = cls()
        path.touch(0o600)
        path.write_text(json.dumps(asdict(made)))
        return made


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The parts of one run of the demo."""

    addresses: Addresses
    secrets: Secrets
    data_dir: Path
    access_token_lifetime: int
    #: `nginx`: it carries the calls, the print shop decides. Empty: the print shop does both.
    edge: str = ""

    @property
    def refresh_leeway(self) -> int:
        """Seconds before its end at which the BFF replaces an access token."""
        return min(15, self.access_token_lifetime // 4)

    @property
    def provider(self) -> Part:
        return self._part(
            "provider",
            *("gunicorn", "project.demo.provider.wsgi:application", "--threads", "4"),
            *("--bind", f"127.0.0.1:{self.addresses.provider_port}", "--no-control-socket"),
            # Without the query string: an id_token_hint is nothing for a log.
            *("--access-logfile", "-", "--access-logformat", "%(t)s %(m)s %(U)s %(s)s"),
            *("--graceful-timeout", "3"),
            told=self._provider_settings,
            ready_url=f"{self.addresses.issuer}/.well-known/openid-configuration",
        )

    @property
    def provider_preparation(self) -> Part:
        return self._part("provider", "project.demo.provider.prepare", told=self._provider_settings)

    @property
    def photos(self) -> Part:
        return self._part(
            "photos",
            *("uvicorn", "project.demo.photos.app:app"),
            *("--port", str(self.addresses.api_port), "--timeout-graceful-shutdown", "3"),
            told={
                "PHOTOS_ISSUER": self.addresses.issuer,
                "PHOTOS_AUDIENCE": self.addresses.api,
                "PHOTOS_SUBJECTS": " ".join(str(person.sub) for person in PEOPLE),
            },
            ready_url=f"{self.addresses.api}/health",
        )

    @property
    def bff(self) -> Part:
        return self._part(
            "bff",
            *("uvicorn", "project.asgi:application", "--workers", "2"),
            *("--port", str(self.bff_listens), "--timeout-graceful-shutdown", "3"),
            # It would write down authorization codes.
            "--no-access-log",
            told=self._bff_settings,
            ready_url=f"http://localhost:{self.bff_listens}/bff/session/",
            ready_headers={"X-BFF": "1"},
        )

    @property
    def bff_listens(self) -> int:
        return self.addresses.django_port if self.edge else self.addresses.bff_port

    @property
    def front(self) -> Part:
        """The proxy in front, with the configuration that `front_preparation` writes."""
        caddy = ("caddy", "run", "--adapter", "caddyfile", "--config")
        program = {"nginx": ("nginx", "-c"), "caddy": caddy}[self.edge]
        return Part(
            name=self.edge,
            command=(*program, str(self.front_file)),
            environment=inherited() | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"},
            directory=ROOT,
            log=self.data_dir / f"{self.edge}.log",
            ready_url=f"{self.addresses.bff}/bff/session/",
            ready_headers={"X-BFF": "1"},
        )

    @property
    def front_preparation(self) -> Part:
        self.front_file.parent.mkdir(mode=0o700, exist_ok=True)
        return self._part(
            "bff",
            *("django", "oauthbff_edge", self.edge, "--whole", "--check"),
            *("--django", f"127.0.0.1:{self.addresses.django_port}"),
            *("--state", str(self.front_file.parent), "--output", str(self.front_file)),
            *("--access-log", str(self.data_dir / f"{self.edge}-access.log")),
            *("--error-log", str(self.data_dir / f"{self.edge}-error.log")),
            told=self._bff_settings,
        )

    @property
    def front_file(self) -> Path:
        return self.data_dir / "edge" / "configuration"

    @property
    def bff_preparation(self) -> Part:
        return self._part(
            "bff", *("django", "migrate", "--verbosity", "0"), told=self._bff_settings
        )

    @property
    def _provider_settings(self) -> dict[str, str]:
        return {
            "LUMEN_DATA_DIR": str(self.data_dir),
            "LUMEN_SECRET_KEY": self.secrets.provider_secret_key,
            "LUMEN_ISSUER": self.addresses.issuer,
            "LUMEN_AUDIENCE": self.addresses.api,
            "LUMEN_ACCESS_TOKEN_LIFETIME": str(self.access_token_lifetime),
            "LUMEN_CLIENT_ID": CLIENT_ID,
            "LUMEN_CLIENT_SECRET": self.secrets.client_secret,
            "LUMEN_CLIENT_ORIGINS": self.addresses.bff,
        }

    @property
    def _bff_settings(self) -> dict[str, str]:
        upstreams = {
            "photos": {
                "url": f"{self.addresses.api}/",
                "methods": ["GET", "HEAD", "POST", "DELETE"],
                "embed": ["image"],
                "headers": ["X-Call-Id"],
                "max_body": 20 * 1024 * 1024,
            }
        }
        return {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SECRET_KEY": self.secrets.bff_secret_key,
            "DEBUG": "False",
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "DATABASE_URL": f"sqlite:///{self.data_dir}/bff.sqlite3",
            # The defaults, said aloud: a .env file could say otherwise.
            "CACHE_URL": "locmemcache://",
            "SESSION_ENGINE": "django.contrib.sessions.backends.db",
            "SECURE_PROXY_SSL_HEADER": "",
            "OIDC_OP_ISSUER": self.addresses.issuer,
            "OIDC_RP_CLIENT_ID": CLIENT_ID,
            "OIDC_RP_CLIENT_SECRET": self.secrets.client_secret,
            "OIDC_RP_SCOPES": SCOPES,
            "OIDC_RP_SIGN_ALGO": "RS256",
            "OAUTHBFF_BASE_URL": self.addresses.bff,
            "OAUTHBFF_KEYS": f"demo:{self.secrets.bff_sealing_key}",
            "OAUTHBFF_UPSTREAMS": json.dumps(upstreams),
            "OAUTHBFF_EDGE_SECRET": self.secrets.edge_secret,
            "OAUTHBFF_CLAIMS": "sub,name,email,picture",
            "OAUTHBFF_USERINFO": "True",
            "OAUTHBFF_REFRESH_LEEWAY": str(self.refresh_leeway),
            "OAUTHBFF_IDLE_TIMEOUT": "1800",
            "OAUTHBFF_ABSOLUTE_TIMEOUT": "28800",
        }

    def _part(
        self,
        name: str,
        *module_and_arguments: str,
        told: dict[str, str],
        ready_url: str = "",
        ready_headers: dict[str, str] | None = None,
    ) -> Part:
        return Part(
            name=name,
            command=(sys.executable, "-m", *module_and_arguments),
            environment=inherited() | told,
            directory=ROOT,
            log=self.data_dir / f"{name}.log",
            ready_url=ready_url,
            ready_headers=ready_headers or {},
        )


def inherited() -> dict[str, str]:
    """Return our own environment without what would mislead a part."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN_NAMES and not name.startswith(FOREIGN_PREFIXES)
    }
    # The parts talk to each other, never through a proxy.
    return kept | {"NO_PROXY": "localhost,127.0.0.1", "PYTHONUNBUFFERED": "1"}
