"""Widgets that draw lines of spans; none knows the app or a backend."""
