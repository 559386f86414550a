"""What all pages read and change: the tab's workspace, the server's shelf, its jobs."""
