"""Reports: each file is one format, and each is a function of the finished results."""
