"""Frame + UiState -> words, numbers to sort by, tones. Pure: what is shown can be tested without a terminal."""
