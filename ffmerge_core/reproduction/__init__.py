"""The paper's claims on the demos: what is tried, what came of it, the page that says so."""
