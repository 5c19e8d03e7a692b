"""A plan taken along: as one plain LoRA, for programs that know nothing of routing."""
