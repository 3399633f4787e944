"""The leaderboard: every theory against one trained network, from the same noise and along its flow."""
