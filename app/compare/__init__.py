"""The answers beside each other, and a third one."""
