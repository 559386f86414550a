"""The Merge page."""
