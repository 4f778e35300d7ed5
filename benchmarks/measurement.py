# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How everything here is measured: times beside a floor in the same run, peak memory from outside, and one report."""

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

FOLDER = Path(__file__).parent


@dataclass
class Timing:
    """Runs of one row, each with a run of the floor just before it.

    Attributes:
        seconds: What each run took.
        floor_seconds: What the floor took just before.
    """

    seconds: list[float] = field(default_factory=list)
    floor_seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the row's own seconds."""
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        """The median multiple of the floor, pair by pair: a slow spell of the machine touches both of a pair."""
        return statistics.median(own / floor for own, floor in zip(self.seconds, self.floor_seconds, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seconds": round(self.median, 4),
            "fastest": round(min(self.seconds), 4),
            "ratio": round(self.ratio, 3),
            "runs": len(self.seconds),
        }


def time_interleaved(
    rows: dict[str, Callable[[], object]],
    floor: Callable[[], object],
    *,
    rounds: int = 7,
    budget: float = 25.0,
    fewest: int = 3,
    synchronize: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
    report: Callable[[str], object] = lambda line: None,
) -> dict[str, Timing]:
    """Times rows round by round, each right after the floor, so that all see the same machine.

    Args:
        rows: What to time, by name; each is run once before anything counts.
        floor: What the rows are measured against.
        rounds: How often each row runs.
        budget: Seconds after which a row is left out of further rounds, once it has run `fewest` times.
        fewest: The fewest runs that count.
        synchronize: Waits for the device.
        clock: `time.perf_counter`, or `time.process_time` on a machine that others use too.
        report: Is told what was warmed up.
    """

    def seconds_of(work: Callable[[], object]) -> float:
        synchronize()
        started = clock()
        work()
        synchronize()
        return clock() - started

    seconds_of(floor)
    warm = {name: seconds_of(work) for name, work in rows.items()}
    report(f"warm: {', '.join(f'{name} {seconds:.2f} s' for name, seconds in warm.items())}")
    timings = {name: Timing() for name in rows}
    for _ in range(rounds):
        for name, work in rows.items():
            timing = timings[name]
            if len(timing.seconds) >= fewest and sum(timing.seconds) > budget:
                continue
            timing.floor_seconds.append(seconds_of(floor))
            timing.seconds.append(seconds_of(work))
    return timings


def peak_memory(script: Path, *arguments: str) -> dict[str, Any]:
    """Runs a script in a process of its own and reads that process's peak memory from outside.

    The script prints one line of JSON when its work is done and waits for a line on its standard input; meanwhile the
    kernel's high-water mark of its resident memory is read.

    Returns:
        What the script printed, with `peak_gib`, `None` where the system has no /proc.
    """
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.readline()
    status = Path(f"/proc/{process.pid}/status")
    peak = None
    if printed and status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        peak = round(int(fields["VmHWM"].split()[0]) / 2**20, 2)
    process.communicate("\n")
    if process.returncode or not printed:
        raise SystemExit(f"{script.name} {' '.join(arguments)} ended with {process.returncode}.")
    return {**json.loads(printed), "peak_gib": peak}


def answer_and_wait(result: dict[str, Any]) -> None:
    """The script's side of [`peak_memory`]."""
    print(json.dumps(result), flush=True)
    sys.stdin.readline()


def describe_machine() -> dict[str, Any]:
    """Machine, versions and commit that a figure was measured with."""
    processor = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    described = {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit(),
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


def commit() -> str:
    """The commit of this checkout, with a plus where files differ from it; empty outside a checkout."""

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(
                ["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    is_changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    return git("rev-parse", "--short", "HEAD") + ("+" if is_changed else "")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lays out a table, numbers to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines)


def write_report(output: Path, name: str, title: str, table: str, rows: Any, settings: dict[str, Any]) -> None:
    """Prints a table and writes it as NAME.md and, with all figures, as NAME.json.

    Args:
        output: The folder.
        name: The files' name.
        title: What was measured, one line.
        table: The Markdown table.
        rows: The figures.
        settings: How they were measured.
    """
    machine = describe_machine()
    command = "python " + " ".join([str(Path(sys.argv[0])), *sys.argv[1:]])
    said = ", ".join(f"{key} {value}" for key, value in machine.items() if value)
    text = f"{title}\n\n{table}\n\n{said}. Command: `{command}`\n"
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.md").write_text(text)
    (output / f"{name}.json").write_text(
        json.dumps({"machine": machine, "command": command, "settings": settings, "rows": rows}, indent=2) + "\n"
    )
    print(f"\n{text}")
