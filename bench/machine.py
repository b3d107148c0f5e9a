"""The machine: its cores, its programs, and what processes cost."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Environments and programs of the peers; not in the repository.
HOME = ROOT / ".bench"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

_cores = sorted(os.sched_getaffinity(0))
#: Load, upstream, provider and databases on one core, whoever is measured on another.
LOAD_CORE, SERVER_CORE = _cores[0], _cores[-1]


def pinned(core: int, command: Sequence[str | Path]) -> list[str]:
    return ["taskset", "--cpu-list", str(core), *map(str, command)]


def program(name: str, *elsewhere: str) -> str | None:
    """Where a program is, if it is installed."""
    found = shutil.which(name)
    return found or next((path for path in elsewhere if Path(path).exists()), None)


def postgresql() -> Path | None:
    """The folder of PostgreSQL's own programs, the newest version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]))
    if folders and (folders[-1] / "initdb").exists():
        return folders[-1]
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def pids_of(group: int) -> Iterator[int]:
    """The processes of a process group, its leader's session included."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and group in (int(fields[2]), int(fields[3])):
                yield int(entry.name)


def cpu_seconds(groups: Sequence[int]) -> float:
    """Processor time of process groups so far, children that have ended included."""
    ticks = 0
    for group in groups:
        for pid in pids_of(group):
            if fields := _stat(pid):
                ticks += sum(int(value) for value in fields[11:15])
    return ticks / TICKS


def memory_bytes(groups: Sequence[int]) -> int:
    """Proportional memory of process groups: shared pages count once."""
    return sum(_pss(pid) for group in groups for pid in pids_of(group))


def threads(groups: Sequence[int]) -> int:
    return sum(int(f[17]) for group in groups for pid in pids_of(group) if (f := _stat(pid)))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name: state, ppid, pgrp, session, …"""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def described() -> list[tuple[str, str]]:
    """What the report says of this machine."""
    cpu = "unknown"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 1024**3
    system = platform.system() + " " + platform.release()
    with contextlib.suppress(OSError):
        system = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {system}"
    return [
        ("Processor", f"{cpu}, {len(_cores)} cores, {memory:.0f} GiB"),
        ("System", system),
        ("Cores", f"load, upstream, provider, databases: {LOAD_CORE}; targets: {SERVER_CORE}"),
    ]


def said(*command: str | Path) -> str:
    """The first line that a program prints."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)  # noqa: S603
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if lines else ""
    return ""
