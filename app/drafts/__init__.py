"""The tab "Drafts": an answer's question sampled again, and what the drafts do not share."""
