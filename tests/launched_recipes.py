# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Both shipped recipes by `accelerate launch --multi_gpu`, on as many processes as they are for, on any machine.

    python tests/launched_recipes.py                       # 4 and 8 processes: minutes, for each start imports PyTorch
    python tests/launched_recipes.py --num_processes 2

A stand-in for the Hub serves a small data set and a tiny CLIP under the names that the recipes fetch. Each recipe runs
on one process; then on many, which are killed (SIGKILL) after a checkpoint and go on with `--resume`. It prints the
greatest difference of the losses, and ends with 1 where it is above 1e-5.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hub_server import hub_environment, local_hub
from served_recipe import evaluated_steps, greatest_difference, read_losses, serve, write_sizes

REPOSITORY = Path(__file__).parent.parent
# Number of processes that each recipe is for.
RECIPES = {"coco_stuff_vitb16_384": 4, "coco_stuff_vitb16_384 eight_gpus": 8}
TOLERANCE = 1e-5
# The checkpoint after which the run is killed.
KILLED_AT = 8


def train_command(num_processes: int) -> list[str]:
    """The command up to its own arguments; on CPUs without `--multi_gpu` the launcher would start one process."""
    if num_processes == 1:
        return [sys.executable, "-m", "fgaseg_hf.training.train"]
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(num_processes)]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [*launch, "--main_process_port", str(port), "-m", "fgaseg_hf.training.train"]


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and these in turn."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in listed.read_text().split()] if listed.exists() else []
    return [*children, *(later for child in children for later in descendants(child))]


def run(num_processes: int, words: list[str], environment: dict[str, str], kill_when: Path | None = None) -> int:
    """Runs the command; kills all of its processes as soon as a path exists. Returns the exit code.

    Raises:
        RuntimeError: it ended otherwise than well or by being killed.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*train_command(num_processes), *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src"), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while process.poll() is None:
            if kill_when is not None and kill_when.exists():
                for pid in [process.pid, *descendants(process.pid)]:
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        code = process.wait()
        if code not in (0, -signal.SIGKILL):
            output.seek(0)
            raise RuntimeError(f"The run ended with {code}:\n{output.read()}")
    return code


def compare(recipe: str, num_processes: int, options: list[str], environment: dict[str, str], folder: Path) -> float:
    """Runs a recipe on one process and, killed and resumed, on many; returns the greatest difference of the losses."""
    folder.mkdir()
    words = ["--config", *recipe.split(), str(write_sizes(folder)), *options, "--output_dir"]
    one, many = folder / "one", folder / "many"
    started = time.monotonic()
    run(1, [*words, str(one)], environment)
    code = run(num_processes, [*words, str(many)], environment, many / "checkpoints" / f"step-{KILLED_AT}")
    killed_after = max(read_losses(many))
    run(num_processes, [*words, str(many), "--resume"], environment)
    found = read_losses(many)
    difference = greatest_difference(found, read_losses(one))
    saved = [name for name in ("best", "last") if (many / name / "model.safetensors").is_file()]
    sys.stdout.write(
        f"{recipe}, {num_processes} processes, {' '.join(options) or 'as shipped'}: ended with {code} after step "
        f"{killed_after}, went on to step {max(found)}; evaluated after {evaluated_steps(many)}; saved {saved}; loss "
        f"{found[1]:.5f} to {found[max(found)]:.5f}, at most {difference:.1e} from one process; "
        f"{time.monotonic() - started:.0f} s\n"
    )
    sys.stdout.flush()
    return difference


def main() -> int:
    """Returns 0 if every run equals that of one process."""
    parser = argparse.ArgumentParser(description="Runs both recipes on many processes against one.")
    parser.add_argument("--num_processes", type=int, help="of both recipes; those that each is for, if not given")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), help="configurations, in quotes where several")
    parser.add_argument("options", nargs="*", help="further words of the command, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, local_hub() as hub:
        serve(hub)
        environment = hub_environment(hub, Path(folder) / "cache")
        differences = [
            compare(
                recipe,
                arguments.num_processes or RECIPES.get(recipe, 8),
                arguments.options,
                environment,
                Path(folder) / f"recipe-{number}",
            )
            for number, recipe in enumerate(arguments.recipes)
        ]
    return int(max(differences) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
