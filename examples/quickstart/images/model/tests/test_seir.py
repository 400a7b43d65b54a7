"""What must hold of every epidemic."""

import unittest

from epidemic.seir import Scenario, simulate, summary


class Seir(unittest.TestCase):
    def test_nobody_is_lost(self):
        scenario = Scenario()
        course = simulate(scenario, seed=1)
        self.assertEqual(course.shape, (scenario.days + 1, 4))
        self.assertTrue((course.sum(axis=1) == scenario.population).all())
        self.assertTrue((course >= 0).all())

    def test_the_same_seed_gives_the_same_course(self):
        first, second, other = (simulate(Scenario(), seed) for seed in (1, 1, 2))
        self.assertTrue((first == second).all())
        self.assertFalse((first == other).all())

    def test_a_higher_reproduction_number_infects_more(self):
        low = summary(simulate(Scenario(reproduction_number=1.2), seed=1))
        high = summary(simulate(Scenario(reproduction_number=3.0), seed=1))
        self.assertLess(low["infected"], high["infected"])
        self.assertGreater(high["infected"], 8_000)


if __name__ == "__main__":
    unittest.main()
