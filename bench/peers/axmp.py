"""axmp-oidc-bff-provider as its README has it, with sessions in Redis."""

from __future__ import annotations

import os

from axmp_oidc_bff_provider import BFFConfig, install_bff
from fastapi import FastAPI

BASE_URL = os.environ["BENCH_BASE_URL"]
app = FastAPI()


@app.get("/hello")
def hello() -> str:
    return "hello"


install_bff(
    app,
    BFFConfig(
        default_provider="bench",
        providers={
            "bench": {
                "server_metadata_url": os.environ["BENCH_ISSUER"]
                + "/.well-known/openid-configuration",
                "client_id": os.environ["BENCH_CLIENT"],
                "client_secret": os.environ["BENCH_SECRET"],
                "token_endpoint_auth_method": "client_secret_basic",
                "scope": "openid profile email photos.read",
            }
        },
        app_base_url=BASE_URL,
        frontend_url=BASE_URL + "/hello",
        frontend_origins=[BASE_URL],
        session_secret_key="a-secret-key-of-the-benchmark-that-is-long",  # noqa: S106
        session_backend="redis",
        redis_url=os.environ["BENCH_REDIS"],
        upstream_api_url=os.environ["BENCH_UPSTREAM"],
        refresh_leeway_seconds=1,
    ),
)
