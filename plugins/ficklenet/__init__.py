"""FickleNet: many random selections of hidden units, one localisation map."""
