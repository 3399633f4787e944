"""What all reproductions share: presets, experiments, targets."""
