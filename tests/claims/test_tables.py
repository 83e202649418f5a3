"""Tables of the results, and the page that holds them."""

from pathlib import Path
from typing import Any

from atlas.claims.claims import CLAIMS
from atlas.claims.tables import beside_table, claims_table, markdown_table, results_page, runs_table, write_runs_csv
from atlas.claims.verdicts import Results, decide_claims
from atlas.core import settings as settings_file

TABLE = {
    "mnist_gan": {"sharpness": 1.0, "sharpness_n": 90, "frechet": 2.5, "coverage": 0.5, "coverage_n": 40, "mig": 0.1},
    "mnist_vae_2": {"nelbo": 130.0},
    "mnist_cvae_2": {"nelbo": 120.0, "label_accuracy": 0.9},
}


def test_a_markdown_table_aligns_numbers_to_the_right() -> None:
    assert markdown_table(["a", "b"], [["x", "1"], ["y", ""]]) == "| a | b |\n|---|---:|\n| x | 1 |\n| y |  |\n"


def test_the_table_of_runs_has_the_headline_metrics_and_leaves_out_what_does_not_apply() -> None:
    header, _, *rows = runs_table(TABLE).splitlines()
    assert header == "| run | -ELBO ↓ | Frechet ↓ | coverage ↑ | label accuracy ↑ | sharpness |"
    assert rows[:2] == ["| mnist_gan |  | 2.50 | 0.500 |  | 1.00 |", "| mnist_vae_2 | 130.00 |  |  |  |  |"]
    assert rows[2] == "| mnist_cvae_2 | 120.00† |  |  | 0.9000 |  |", "a bound on log p(x|y) is marked"


def test_the_csv_has_every_metric_with_its_sample_size(tmp_path: Path) -> None:
    write_runs_csv(tmp_path / "table.csv", TABLE)
    header, gan, vae, _ = (tmp_path / "table.csv").read_text().splitlines()
    assert header == "run,nelbo,frechet,coverage,coverage_n,label_accuracy,mig,sharpness,sharpness_n"
    assert gan == "mnist_gan,,2.5,0.5,40,,0.1,1.0,90" and vae == "mnist_vae_2,130.0,,,,,,,"


def test_the_table_of_claims_has_a_line_for_each_row() -> None:
    decided: dict[str, Any] = {"claim": "A", "runs": ["x", "y"], "values": {"kernel": [0.1, 0.9]}, "verdict": "holds"}
    decided["differs"] = ["learning_rate"]
    header, _, first, *rows = claims_table([decided, *decide_claims(Results({}, {}, {}))]).splitlines()
    assert len(rows) == len(CLAIMS) and all(row.count("|") == header.count("|") for row in rows)
    assert first == "| A | x / y | kernel 0.10 / 0.90; the two also differ in learning rate | **holds** |"
    assert "there are no runs of cvae_gan and cvae" in rows[0] and "**not run**" in rows[0]


def test_the_page_holds_every_table_and_its_links_are_there() -> None:
    root = Path(__file__).parents[2]
    results = Results(TABLE, {}, {"mnist": 0.995})
    settings = settings_file.load(root / "params.yaml")
    page = results_page(results, settings, decide_claims(results), sweep="| gamma |\n")
    assert "There are none." in page
    assert runs_table(TABLE) in page and "mnist 99.5%" in page
    assert "90 official test images and as many samples; fewer in coverage (40)." in page
    assert "| claim | runs |" in page and "No run has been repeated" in page and page.endswith("\n\n| gamma |\n")
    for link in page.split("](")[1:]:
        assert (root / "docs" / link.split(")")[0]).resolve().exists(), link


def test_trainings_beside_the_set_stand_below_the_run_they_are_compared_with() -> None:
    settings = settings_file.load(Path(__file__).parents[2] / "params.yaml")
    metrics = {"frechet": 1.5, "mig": 0.2}
    row = {"machine": "two cores", "minutes": 54, "epochs": 48, "pictures": ["samples", "maps"], "metrics": metrics}
    # The set's own run at its own scale, a recipe of it, one that is like none, and the run at another scale.
    runs = {"mnist_gan": row, "mnist_gan_original": row, "other": row}
    text = beside_table(TABLE, settings, {"gpu": {}, settings.scale: runs, "night": {"mnist_gan": row}})
    table, _, pictures = text.partition("\n\n")
    header, _, own, *others = table.splitlines()
    assert header.startswith("| run | training | Frechet ↓ | coverage ↑")
    assert own.startswith("| mnist_gan | cpu | 2.50 | 0.500 |")
    assert others == [
        "| mnist_gan_original | cpu: 48 epochs, 54 minutes on two cores | 1.50 |  |  |",
        "| mnist_gan | night: 48 epochs, 54 minutes on two cores | 1.50 |  |  |",
    ]
    assert [line for line in pictures.splitlines() if line.startswith("!")] == [
        f"![{run}, scale {scale}, 48 epochs: {name}](../results/pictures/{scale}_{run}_{name}.png)"
        for scale, run in (("cpu", "mnist_gan_original"), ("night", "mnist_gan"))
        for name in ("samples", "maps")
    ]
