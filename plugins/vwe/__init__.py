"""VWE: visual words encoder and hybrid spatial pooling."""
