"""The guided minute: four steps beside what they speak of."""
