"""Rooms of the pages: what all share (`state`, `pieces`), and one for each page."""
