"""Other people's files in, files for other people's servers out."""
