"""What a doctor makes of the provider and of this site. Pure.

No I/O and no clock: metadata, keys, headers, settings and measurements are passed
in, `Finding`s come out. Asking is the work of `manage.py oauthbff_doctor`. Every
text of the provider's goes through `plain` before it reaches a terminal.

    finding     a sentence, its mark, and what to do
    metadata    what the provider says of itself
    provider    how it behaves, and what it has to know of us
    site        this site, and its APIs
"""

from __future__ import annotations

from .finding import LONGEST_QUOTE, Finding, Mark, count, ok, plain, problem, redact, warning
from .metadata import judge_metadata, usable_endpoint
from .provider import judge_addresses, judge_answer, judge_backchannel, judge_clock, judge_keys
from .site import (
    judge_cache,
    judge_database,
    judge_misconfigured,
    judge_sessions,
    judge_sweeping,
    judge_upstream,
)

__all__ = [
    "LONGEST_QUOTE",
    "Finding",
    "Mark",
    "count",
    "judge_addresses",
    "judge_answer",
    "judge_backchannel",
    "judge_cache",
    "judge_clock",
    "judge_database",
    "judge_keys",
    "judge_metadata",
    "judge_misconfigured",
    "judge_sessions",
    "judge_sweeping",
    "judge_upstream",
    "ok",
    "plain",
    "problem",
    "redact",
    "usable_endpoint",
    "warning",
]
