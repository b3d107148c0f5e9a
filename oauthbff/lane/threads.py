"""What must be done by Django's blocking code: in threads, few, and never on the event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import close_old_connections

T = TypeVar("T")

MOST_THREADS = 32
_threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="oauthbff-lane")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function that may use the database, in this call's context."""
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, context.run, _tidily, function, *args)


def _tidily(function: Callable[..., T], *args: Any) -> T:
    """As Django does around a request: no connection outlives its CONN_MAX_AGE."""
    close_old_connections()
    try:
        return function(*args)
    finally:
        close_old_connections()
