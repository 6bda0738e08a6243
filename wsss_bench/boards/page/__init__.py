"""A board as one HTML page; its script and style are the files beside this one."""
