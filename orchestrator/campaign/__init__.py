"""Where execution and evaluation meet: campaigns and searches, new and resumed."""
