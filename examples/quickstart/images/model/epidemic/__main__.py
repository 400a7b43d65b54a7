"""The three stages of the pipeline: build the tasks, run one, put the outputs together."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import click
from tabulate import tabulate

from .log import log
from .seir import Scenario, simulate, summary

DATA = Path(os.environ.get("DATA_DIR", "/data"))
TASKS = DATA / "builder-artifacts"
RESULTS = DATA / "runner-artifacts"
OUTPUTS = DATA / "outputs"


@click.group()
def main():
    """A small stochastic epidemic."""


@main.command()
@click.option("--reproduction-number", "numbers", type=float, multiple=True, default=[1.5, 2.5])
@click.option("--runs", type=int, default=5, show_default=True)
def builder(numbers, runs):
    """Writes one task for each reproduction number and run."""
    TASKS.mkdir(parents=True, exist_ok=True)
    tasks = [(number, seed) for number in numbers for seed in range(runs)]
    for index, (number, seed) in enumerate(tasks):
        scenario = Scenario(reproduction_number=number)
        task = {"scenario": asdict(scenario), "seed": seed}
        (TASKS / f"{index:05}.json").write_text(json.dumps(task))
    log("tasks written", tasks=len(tasks))
    print(len(tasks))


@main.command()
def runner():
    """Runs the task that TASK_INDEX (or BATCH_TASK_INDEX) names; the first without."""
    index = int(os.environ.get("TASK_INDEX") or os.environ.get("BATCH_TASK_INDEX") or 0)
    task = json.loads((TASKS / f"{index:05}.json").read_text())
    scenario = Scenario(**task["scenario"])
    result = summary(simulate(scenario, task["seed"]))
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"reproduction_number": scenario.reproduction_number, **result}
    (RESULTS / f"{index:05}.json").write_text(json.dumps(document))
    log("task done", index=index, **result)


@main.command()
def output():
    """Prints a table of all results and writes them to one file."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    if not results:
        raise click.ClickException(f"no results in {RESULTS}")
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    (OUTPUTS / "results.json").write_text(json.dumps(results))
    log("outputs written", results=len(results))
    print(tabulate(results, headers="keys"))


if __name__ == "__main__":
    main()
