"""What each command does, without a terminal: files and core joined. The Python interface is made of it."""
