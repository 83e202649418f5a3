"""Compare all runs: tables of their metrics and curves, and verdicts on the claims, in results/ and docs/results.md."""

from collections import Counter
from pathlib import Path

from atlas.core.files import atomic_write, read_json, run_stage, write_json


def compare() -> None:
    """Write the tables and verdicts of results/ and docs/results.md."""
    from atlas.claims.inputs import RESULTS, read_beside, read_curves, read_metrics, read_per_image, read_seeds
    from atlas.claims.tables import results_page, write_csv, write_runs_csv
    from atlas.claims.verdicts import Results, decide_claims
    from atlas.core import settings as settings_file

    settings = settings_file.load()
    runs = settings.runs
    judges = {
        name: read_json(Path("outputs/judges") / name / "judge.json", f"train_judge@{name}")
        for name in dict.fromkeys(run.dataset for run in runs.values())
    }
    results = Results(
        metrics={run: read_metrics(run) for run in runs},
        settings={run: settings.flat(run) for run in runs},
        accuracies={name: judge["test_accuracy"] for name, judge in judges.items()},
        per_image={run: read_per_image(run) for run in runs},
        seeds=read_seeds(runs, settings.scale),
    )
    claims = decide_claims(results)
    curves = [row for key, run in runs.items() for row in read_curves(key, run.dataset)]
    write_json(RESULTS / "metrics.json", results.metrics)
    write_json(RESULTS / "judges.json", judges)
    write_json(RESULTS / "comparison.json", {"claims": claims})
    write_runs_csv(RESULTS / "table.csv", results.metrics)
    write_csv(RESULTS / "curves.csv", list(curves[0]), curves)
    # Of a script and no stage: whoever has made no sweep has none.
    sweep = RESULTS / "sweep.md"
    swept = sweep.read_text(encoding="utf-8") if sweep.exists() else ""
    page = results_page(results, settings, claims, read_beside(), swept)
    with atomic_write(Path("docs/results.md")) as tmp:
        tmp.write_text(page, encoding="utf-8")
    verdicts = Counter(claim["verdict"] for claim in claims)
    print(
        f"results/ and docs/results.md: {len(runs)} runs, {len(curves)} points of curves; claims: "
        + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    )


if __name__ == "__main__":
    run_stage(compare, __doc__)
