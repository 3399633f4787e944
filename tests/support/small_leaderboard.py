"""A leaderboard of a network that takes seconds."""

from __future__ import annotations

SETTINGS = {"scores": "els,gaussian", "samples": 2, "steps": 3, "network_steps": 7, "scales": "3"}
FLAGS = ("--samples", 2, "--steps", 3, "--network-steps", 7, "--scales", 3)
