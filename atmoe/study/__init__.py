"""Studies of a model over a cohort of prompts: do its parts do what they say?"""
