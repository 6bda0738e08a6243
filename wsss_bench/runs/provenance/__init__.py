"""Where a number comes from: command, versions, code, hardware, time and memory."""
