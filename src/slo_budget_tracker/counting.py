"""Samples to exact counts: one remembered sample per series (design: raw samples + memory)."""
