"""The tab "Cohort": many questions at once."""
