"""What things cost, as ratios of two sides that take turns in one run."""
