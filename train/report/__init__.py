"""What a run looked like: its files read back, pictures of its routers, one page."""
