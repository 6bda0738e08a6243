"""densecrf: seeds to labels by a dense CRF."""
