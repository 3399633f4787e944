"""How well theories predict networks: comparison, statistics, calibration of scales, leaderboards."""
