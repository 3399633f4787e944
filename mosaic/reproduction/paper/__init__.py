"""The tables and figures of Kamb & Ganguli (ICML 2025)."""
