"""Built-in schedules and score models, registered exactly as a third party's are."""
