"""What the pages share: jobs, the state of a tab, and small pieces of interface."""
