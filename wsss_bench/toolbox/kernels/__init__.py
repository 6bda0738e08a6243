"""Compiled inner loops (numba) of the toolbox; each has a plain counterpart that tests compare it with."""
