"""The model: a binomial chain of four compartments, one step a day."""

from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Scenario:
    """What is assumed of a population and a disease."""

    population: int = 10_000
    infectious: int = 10
    reproduction_number: float = 2.5
    latent_days: float = 3.0
    infectious_days: float = 5.0
    days: int = 180


def simulate(scenario, seed):
    """Gives the compartments of every day as an array of days x (S, E, I, R)."""
    random = numpy.random.default_rng(seed)
    onset = 1 - numpy.exp(-1 / scenario.latent_days)
    recovery = 1 - numpy.exp(-1 / scenario.infectious_days)
    rate = scenario.reproduction_number / scenario.infectious_days
    state = numpy.array([scenario.population - scenario.infectious, 0, scenario.infectious, 0])
    course = [state]
    for _ in range(scenario.days):
        susceptible, exposed, infectious, _ = state
        contagion = 1 - numpy.exp(-rate * infectious / scenario.population)
        infected = random.binomial(susceptible, contagion)
        sick = random.binomial(exposed, onset)
        recovered = random.binomial(infectious, recovery)
        state = state + numpy.array([-infected, infected - sick, sick - recovered, recovered])
        course.append(state)
    return numpy.array(course)


def summary(course):
    """Gives the day and height of the peak, and how many were infected in all."""
    infectious = course[:, 2]
    return {
        "peak_day": int(infectious.argmax()),
        "peak": int(infectious.max()),
        "infected": int(course[0, 0] - course[-1, 0]),
    }
