"""Many prompts: a file of rows in, batches under different plans, a file of rows out."""
