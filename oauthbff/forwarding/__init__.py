"""What may pass between browser and upstream: paths, headers, bodies, status. Pure.

The rule: build a new request, never forward the old one. Each door that carries calls asks
here; none has rules of its own.

    target    which upstream, which method, and the request line
    request   the headers of the new request
    body      how long a body is, and whether all of it came
    response  what of the answer reaches the browser
"""

from __future__ import annotations

from .body import (
    CHUNK_BYTES,
    Meter,
    check_length,
    declared_length,
    has_body,
    is_replayable,
)
from .request import (
    REQUEST_HEADERS,
    Header,
    Headers,
    forwarded,
    request_head,
    request_headers,
    via,
)
from .response import (
    BODYLESS,
    RESPONSE_HEADERS,
    is_event_stream,
    refuses_token,
    response_headers,
    rewrite_location,
)
from .target import (
    MAX_PATH,
    MAX_QUERY,
    PLAIN_QUERY,
    PLAIN_REST,
    PLAIN_SEGMENT,
    TOLD_REST,
    check_method,
    check_socket,
    embeds,
    find_route,
    raw_target,
    requote,
    split_target,
    upstream_target,
)

__all__ = [
    "BODYLESS",
    "CHUNK_BYTES",
    "MAX_PATH",
    "MAX_QUERY",
    "PLAIN_QUERY",
    "PLAIN_REST",
    "PLAIN_SEGMENT",
    "REQUEST_HEADERS",
    "RESPONSE_HEADERS",
    "TOLD_REST",
    "Header",
    "Headers",
    "Meter",
    "check_length",
    "check_method",
    "check_socket",
    "declared_length",
    "embeds",
    "find_route",
    "forwarded",
    "has_body",
    "is_event_stream",
    "is_replayable",
    "raw_target",
    "refuses_token",
    "request_head",
    "request_headers",
    "requote",
    "response_headers",
    "rewrite_location",
    "split_target",
    "upstream_target",
    "via",
]
