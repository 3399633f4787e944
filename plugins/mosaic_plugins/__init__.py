"""Built-in schedules, score models, networks and metrics, registered exactly as a third party's are."""
