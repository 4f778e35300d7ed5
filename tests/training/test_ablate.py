# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`training/ablate.py`: what it trains, what it skips, and what it makes of the numbers."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import ablate
import ablation_report
import ablation_runs
import pytest
import yaml
from tiny_models import TINY, TINY_TEXT, TINY_VISION, tiny_model
from tiny_tokenizer import tiny_tokenizer

from fgaseg_hf import FGASegConfig
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments
from fgaseg_hf.training.run_folder import ARGUMENTS_FILE
from fgaseg_hf.training.training_arguments import CONFIG_FOLDER, parse_training_arguments, read_model_config
from fgaseg_hf.training.training_log import LOG_FILE

NAMES = ["sky", "red car", "blue car", "tree"]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """The small files that the arguments name."""
    (tmp_path / "groups.json").write_text(json.dumps({"seen": NAMES[:2], "unseen": NAMES[2:]}))
    return tmp_path


def words(inputs: Path, *more: str) -> list[str]:
    places = ["--dataset", str(inputs / "dataset"), "--tokenizer", str(inputs / "tokenizer")]
    places += ["--class_groups", str(inputs / "groups.json"), "--output_dir", str(inputs / "runs")]
    return [*places, *more]


def options(inputs: Path, *more: str) -> ablation_runs.AblationArguments:
    return parse_arguments((ablation_runs.AblationArguments,), words(inputs, *more))[0]


def finish(run: ablation_runs.Run, seen: float, unseen: float, max_steps: int = 4) -> None:
    """Leaves what a finished training leaves."""
    run.folder.mkdir(parents=True)
    switches = ablation_runs.VARIANTS[run.variant].switches
    tiny_model(**switches).save_pretrained(run.folder / "last")
    planned = {"max_steps": max_steps, "batch_size": 2, "evaluation_splits": ["validation_seen", "validation_unseen"]}
    (run.folder / ARGUMENTS_FILE).write_text(json.dumps(planned))
    lines: list[dict[str, Any]] = [{"step": 4, "loss": 0.5, "seconds": 60.0, "cpu_seconds": 30.0}]
    for kind, value in (("seen", seen), ("unseen", unseen)):
        split = f"validation_{kind}"
        lines.append({"step": 4, f"{split}/mean_iou": 0.9, f"{split}/mean_iou/{kind}": value})
    (run.folder / LOG_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_variants_add_one_part_each() -> None:
    configs = [FGASegConfig(**variant.switches).to_dict() for variant in ablation_runs.VARIANTS.values()]
    assert configs[0] == FGASegConfig.catseg().to_dict()
    assert configs[-1] == FGASegConfig().to_dict()
    changed = [
        {key for key in before if before[key] != after[key]}
        for before, after in zip(configs, configs[1:], strict=False)
    ]
    parts = ("p2tformer_num_layers", "use_alignment_head", "use_local_pseudo_masks", "use_auxiliary_heads")
    assert changed == [{part} for part in parts]


def test_the_runs_differ_in_variant_seed_and_folder_alone(inputs: Path) -> None:
    arguments = options(inputs, "--train_arguments", "--max_steps 70")
    runs = [ablation_runs.Run(variant, seed, inputs / variant) for variant in ablation_runs.VARIANTS for seed in (0, 1)]
    recipe = yaml.safe_load((CONFIG_FOLDER / "ablation.yaml").read_text())["model_config"]
    found = []
    for run in runs:
        model, data, training = parse_training_arguments(run.command(arguments)[3:])
        assert read_model_config(model) == recipe | ablation_runs.VARIANTS[run.variant].switches
        assert (training.seed, training.output_dir, training.resume) == (run.seed, str(run.folder), True)
        training.seed, training.output_dir = 0, ""
        found.append((data, training))
    assert all(pair == found[0] for pair in found)
    assert found[0][1].max_steps == 70


def test_summary_and_table(inputs: Path) -> None:
    runs = [
        ablation_runs.Run(variant, seed, inputs / f"{variant}{seed}")
        for variant in ("baseline", "full")
        for seed in (0, 1)
    ]
    for run, (seen, unseen) in zip(runs, ((0.1, 0.2), (0.3, 0.2), (0.2, 0.3), (0.6, 0.1)), strict=True):
        finish(run, seen, unseen)
    rows = ablation_report.summarise([run.result() or {} for run in runs])
    assert [row["variant"] for row in rows] == ["baseline", "full"]
    assert rows[0]["seen"]["mean"] == pytest.approx(0.2)
    assert rows[0]["seen"]["deviation"] == pytest.approx(0.02**0.5)
    assert rows[0]["seen"]["change"] is None
    assert rows[1]["seen"]["change"]["mean"] == pytest.approx(0.2)  # 0.1 and 0.3, seed by seed
    assert rows[1]["unseen"]["change"]["mean"] == pytest.approx(0.0)
    head = sum(parameter.numel() for parameter in tiny_model().alignment_head.parameters())
    assert rows[1]["parameters"] - rows[1]["parameters_at_inference"] == head
    assert rows[0]["parameters"] == rows[0]["parameters_at_inference"]
    assert rows[0]["pictures"] == 8
    table = ablation_report.format_table(rows, {"training-free": {"seen": 0.05, "unseen": 0.04}}).splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| training-free | 5.0 | 4.0 |")
    assert "| 20.0 ± 14.1 |" in table[3]
    assert "| +20.0 ± 14.1 |" in table[4]


def test_a_run_is_finished_only_after_its_last_evaluation(inputs: Path) -> None:
    run = ablation_runs.Run("full", 0, inputs / "run")
    assert run.evaluations() is None
    finish(run, 0.1, 0.2)
    assert run.evaluations() == {
        "validation_seen": {"mean_iou": 0.9, "mean_iou/seen": 0.1},
        "validation_unseen": {"mean_iou": 0.9, "mean_iou/unseen": 0.2},
    }
    lines = (run.folder / LOG_FILE).read_text().splitlines(keepends=True)
    (run.folder / LOG_FILE).write_text("".join(lines[:-1]))
    assert run.evaluations() is None
    (run.folder / LOG_FILE).write_text("".join(lines)[:-1])  # cut off in its last line
    assert run.evaluations() is None


def test_finished_runs_are_skipped_and_reported(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    for number, variant in enumerate(("baseline", "full")):
        finish(ablation_runs.Run(variant, 5, inputs / "runs" / f"{variant}_seed5"), 0.1 + number / 10, 0.2)
    result = {"split": "validation_seen", "result": {"groups": {"seen": {"mean_iou": 0.07}}}}
    (inputs / "seen.json").write_text(json.dumps(result))
    result = {"split": "validation_unseen", "result": {"groups": {"unseen": {"mean_iou": 0.06}}}}
    (inputs / "unseen.json").write_text(json.dumps(result))
    files = {"validation_seen": "seen.json", "validation_unseen": "unseen.json"}
    (inputs / "extra.json").write_text(json.dumps({"training-free": files}))
    more = ("--variants", "full", "baseline", "--seeds", "5", "--extra_rows", str(inputs / "extra.json"))
    report = ablate.main(words(inputs, *more, "--report_dir", str(inputs / "report")))
    assert capsys.readouterr().out.count("finished before") == 2
    assert report == json.loads((inputs / "report" / "ablation.json").read_text())
    assert [row["title"] for row in report["rows"]] == ["baseline (CAT-Seg)", "+ auxiliary heads (full)"]
    assert report["extra_rows"] == {"training-free": {"seen": 0.07, "unseen": 0.06}}
    assert (inputs / "report" / "ablation.md").read_text().count("\n") == 5
    assert (inputs / "report" / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert not any("/" in name for name in report["arguments"]["recipe"])
    # a result without groups has no mIoU of them
    (inputs / "seen.json").write_text(json.dumps({"split": "validation_seen", "result": {"groups": {}}}))
    with pytest.raises(ValueError, match="measure it with --class_groups"):
        ablation_report.read_extra_rows(str(inputs / "extra.json"))
    # a folder does not mix recipes
    more = more[:-2]
    with pytest.raises(ValueError, match="another train_arguments"):
        ablate.main(words(inputs, *more, "--train_arguments", "--max_steps 500"))


def test_runs_on_data_that_were_corrected_since_are_not_taken_for_runs_on_these(inputs: Path) -> None:
    (inputs / "dataset").mkdir()
    maps = inputs / "dataset" / "train-00000-of-00001.parquet"
    maps.write_bytes(b"old")
    runs = [ablation_runs.Run("full", 0, inputs / "runs" / "full_seed0")]
    for _ in range(2):
        ablate.check_plan(options(inputs), runs)
    state = maps.stat()
    maps.write_bytes(b"new")
    os.utime(maps, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(ValueError, match="runs with another state of the files"):
        ablate.check_plan(options(inputs), runs)


def test_a_folder_in_which_something_still_trains_is_left_alone(inputs: Path) -> None:
    run = ablation_runs.Run("full", 0, inputs / "run")
    run.folder.mkdir()
    with (run.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="still training"):
            ablation_runs.RunningProcesses().train(run, options(inputs))
    stopped = ablation_runs.RunningProcesses()
    stopped.stop()
    assert stopped.train(run, options(inputs)) is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--variants", "empty"), "--variants"),
        (("--seeds", "1", "1"), "--seeds"),
        (("--num_parallel_runs", "0"), "--num_parallel_runs"),
        (("--recipe", "nowhere.yaml"), "nowhere.yaml"),
        (("--train_arguments", "--config_overrides fusion=add"), "config_overrides"),
        (("--train_arguments", "--config-overrides fusion=add"), "config_overrides"),
        (("--train_arguments", "--max_steps 0"), "--max_steps"),
        (("--train_arguments", "--evaluation_splits validation_seen"), "validation_unseen"),
    ],
)
def test_bad_arguments_get_one_sentence(inputs: Path, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ablate.main(words(inputs, *more))
    assert message in str(error.value)


@pytest.mark.slow
def test_it_trains_and_evaluates(inputs: Path) -> None:
    pytest.importorskip("matplotlib")
    from test_training import make_rows

    (inputs / "dataset" / "data").mkdir(parents=True)
    for number, split in enumerate(("train", "validation_seen", "validation_unseen")):
        make_rows(4, seed=number).to_parquet(inputs / "dataset" / "data" / f"{split}-00000-of-00001.parquet")
    (inputs / "dataset" / "class_names.txt").write_text("\n".join(NAMES))
    tiny_tokenizer().save_pretrained(inputs / "tokenizer")
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in TINY.items()}
    recipe = {
        "model_config": {**fields, "text_config": TINY_TEXT, "vision_config": TINY_VISION, "trainable_clip": "all"},
        "evaluation_splits": ["validation_seen", "validation_unseen"],
        "max_steps": 2,
        "batch_size": 2,
    }
    (inputs / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    more = ("--recipe", str(inputs / "recipe.yaml"), "--variants", "baseline", "full", "--seeds", "0")
    report = ablate.main(words(inputs, *more, "--num_parallel_runs", "2"))
    assert [run["steps"] for run in report["runs"]] == [2, 2]
    assert all(0 <= row["unseen"]["mean"] <= 1 for row in report["rows"])
    assert ablate.main(words(inputs, *more))["rows"] == report["rows"]
