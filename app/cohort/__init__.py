"""The tab "Many questions": many questions at once."""
