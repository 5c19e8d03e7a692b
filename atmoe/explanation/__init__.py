"""What is measured of an answer: weights, contributions, effects, and what another plan does."""
