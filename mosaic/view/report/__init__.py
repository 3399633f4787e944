"""One self-contained page about stored runs."""
