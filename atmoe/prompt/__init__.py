"""What a person typed, checked, put into the base model's chat template, and set out in rows."""
