"""What a plan is applied to: a frozen base model, its experts, its router, and their store."""
