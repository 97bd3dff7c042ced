"""From a study's results to contrasts, intervals, verdicts and power: numbers only, no torch."""
