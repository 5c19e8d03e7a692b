"""The tab "Why this answer"."""
