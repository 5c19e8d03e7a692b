"""What turns a plan into a plan: a person's overrides, and the plans they are held against."""
