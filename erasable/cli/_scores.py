"""`erasable audit --scores`: judge from numbers that other people collected."""

import time
from collections.abc import Mapping
from typing import Any

from erasable._plumbing.id_file import read_ids
from erasable.audit import compile_report
from erasable.cli._modes import command, ids_of, refuse_used
from erasable.cli._options import result
from erasable.cli.audit import write_report
from erasable.errors import SettingsError
from erasable.request import Request
from erasable.score_audit import judge_scores
from erasable.score_file import ScoreFile


def audit_scores(options: Mapping[str, Any]) -> None:
    """Raises what reading, judging and writing raise."""
    begin, out, suite = time.perf_counter(), options["out"], options["suite"]
    if suite not in ("quick", "standard"):
        raise SettingsError(f"--suite {suite} with --scores", expected="quick or standard: what is more takes the "
                            "model", do="leave it out, or audit the weights with --model")  # fmt: skip
    refuse_used(out)
    gone = ids_of(options["forget_ids"])
    manifest = None if options["manifest"] is None else read_ids(options["manifest"])
    scores = ScoreFile.read(options["scores"])
    section = judge_scores(scores, Request(f"{len(gone)} ids", gone), signal=options["signal"], manifest=manifest,
                           suite=suite, seed=options["seed"])  # fmt: skip
    made = compile_report(
        [section],
        title=f"Audit of {scores.name}",
        suite=suite,
        command=command(options),
        show_samples=options["show_samples"],
    )
    folder = write_report(out, made)
    words = [section.verdict, *(f"{row.name}: {row.verdict}" for row in section.rows), *section.cautions]
    facts = {"report": str(folder / "report.html"), "json": str(folder / "report.json"), "verdict": section.verdict,
             "models": {row.name: row.status for row in section.rows}, "oracles": section.rows[0].oracles,
             "cautions": list(section.cautions), "seconds": round(time.perf_counter() - begin, 2)}  # fmt: skip
    result("\n".join([*words, str(folder / "report.html")]), facts, options["as_json"])
