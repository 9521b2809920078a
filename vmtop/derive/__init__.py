"""Pure arithmetic: samples to metrics, rates and levels."""
