"""A record as one HTML file, and the sentences that it and the page share."""
