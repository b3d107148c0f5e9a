"""api/<upstream>/<path> in front of Django: the same door as `proxy`, as an ASGI application.

    application = Lane(get_asgi_application())

It carries the calls that need nothing from Django and passes everything else on untouched.

    serving    which calls it carries, and which not
    asked      what was asked, as ASGI tells it
    finding    whose call is it
    database   session and grant by one prepared statement
    shared     the same from the store that all hosts share
    together   one question for all the calls of a moment
    judged     what was read a moment ago and has not changed
    carrying   request up, answer down
    wire       connections to upstreams
    sockets    WebSockets, for the routes that let them pass
    clock      what time does to calls under way
    threads    what Django's blocking code must do
"""

from __future__ import annotations

from typing import Any


class Lane:
    """An ASGI application in front of `application`, which is Django's.

    Raises `Misconfigured` when the settings cannot be used: the server does not start.
    """

    def __init__(self, application: Any) -> None:
        # Not at the top: asgi.py imports this room before get_asgi_application() has loaded models.
        from .serving import Serving

        self._serving = Serving(application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._serving(scope, receive, send)
