"""Examines this machine and prints the line that repairs each fault."""
