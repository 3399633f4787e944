"""Built-in data sets, registered exactly as a third party's are."""
