"""Taken along: a plan as one plain LoRA, for programs that know no routing; a page as a Space."""
