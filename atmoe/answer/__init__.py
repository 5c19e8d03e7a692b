"""Answers: a prompt is read, tokens are chosen and decoded, alone or many people's in one batch."""
