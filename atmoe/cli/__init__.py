"""The command line; nothing that its modules import at start takes seconds."""
