"""The tab "What if": one part at five shares."""
