"""One shot of load: wrk for a while, and every answer's status and body compared."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine

SCRIPT = """
local function file(name) local f = assert(io.open(name, "rb")); local s = f:read("*a"); f:close()
  return s end
local expected = file(%(expected)s)
wrk.method = %(method)s
%(headers)s
%(body)s
local threads, requests, turn = {}, {}, 0
function next_session() turn = turn %% #requests + 1; return requests[turn] end
if %(several)s then request = next_session end
function setup(thread) table.insert(threads, thread) end
function init(args)
  good = 0; wrong = 0; sample = ""
  for number, cookie in ipairs({%(cookies)s}) do
    wrk.headers["Cookie"] = cookie
    requests[number] = wrk.format()
  end
end
function response(status, headers, body)
  if status == 200 and body == expected then good = good + 1 else
    wrong = wrong + 1
    if sample == "" then sample = status .. " " .. string.sub(body, 1, 120) end
  end
end
function done(summary, latency, requests)
  local good, wrong, sample = 0, 0, ""
  for _, thread in ipairs(threads) do
    good = good + thread:get("good"); wrong = wrong + thread:get("wrong")
    if thread:get("sample") ~= "" then sample = thread:get("sample") end
  end
  local e = summary.errors
  io.write(string.format("\\n@@%%d %%d %%d %%d %%d %%d %%d %%s\\n", good, wrong,
    summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write, e.timeout, sample))
end
"""


@dataclass(frozen=True)
class Request:
    """What wrk sends, and what must come back."""

    port: int
    path: str
    headers: Mapping[str, str]
    expected: bytes
    method: str = "GET"
    body: bytes = b""
    #: `Cookie` headers, each in its turn, instead of the one in `headers`: as many sessions.
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shot:
    """What came of it. Times in microseconds."""

    good: int
    wrong: int
    microseconds: int
    p50: int
    p99: int
    broken: int
    timeouts: int
    sample: str
    cpu: float = 0.0

    @property
    def per_second(self) -> float:
        return self.good / (self.microseconds / 1e6)

    @property
    def failure(self) -> str | None:
        """Why this shot does not count."""
        if self.wrong:
            return f"{self.wrong} of {self.good + self.wrong} answers wrong: {self.sample}"
        if not self.good:
            return "no answer"
        lost = self.broken + self.timeouts
        if lost > self.good * 0.01:
            return f"{lost} calls without an answer beside {self.good} right ones"
        return None


def fire(request: Request, *, connections: int, seconds: float, groups: list[int]) -> Shot:
    """Keep `connections` busy for a while; `groups` are the process groups that work for it."""
    with tempfile.TemporaryDirectory(prefix="oauthbff-wrk-") as folder:
        script = _script(Path(folder), request)
        command = [
            *(machine.program("wrk") or "wrk",),
            *("--threads", "1", "--connections", str(connections)),
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", "20s"),
            *("--script", script, f"http://127.0.0.1:{request.port}{request.path}"),
        ]
        before = machine.cpu_seconds(groups)
        done = subprocess.run(  # noqa: S603
            machine.pinned(machine.LOAD_CORE, command), capture_output=True, text=True
        )
        cpu = machine.cpu_seconds(groups) - before
    found = [line for line in done.stdout.splitlines() if line.startswith("@@")]
    if not found:
        raise RuntimeError(f"wrk said: {done.stdout[-500:]} {done.stderr[-500:]}")
    numbers, sample = found[0][2:].split(" ", 7)[:7], (found[0].split(" ", 7) + [""])[7]
    return Shot(*map(int, numbers), sample, cpu)  # type: ignore[arg-type]


def _script(folder: Path, request: Request) -> str:
    (folder / "expected").write_bytes(request.expected)
    (folder / "body").write_bytes(request.body)
    script = folder / "shot.lua"
    values: dict[str, Any] = {
        "expected": json.dumps(str(folder / "expected")),
        "method": json.dumps(request.method),
        "headers": "\n".join(
            f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
            for name, value in request.headers.items()
        ),
        "cookies": ", ".join(map(json.dumps, request.cookies)),
        "several": "true" if request.cookies else "false",
        "body": f"wrk.body = file({json.dumps(str(folder / 'body'))})" if request.body else "",
    }
    script.write_text(SCRIPT % values)
    return str(script)
