"""Build and check the documentation: links, prose, code blocks, the reference of the command line."""
