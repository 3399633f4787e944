"""What a plugin author subclasses or is handed: options, schedules, data sets, scores, networks, metrics."""
