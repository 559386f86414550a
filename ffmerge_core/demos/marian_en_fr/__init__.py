"""A small English to French translator for dates, amounts, measures and names."""
