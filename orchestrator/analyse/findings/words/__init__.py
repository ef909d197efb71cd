"""The words of all findings, by what they are about."""
