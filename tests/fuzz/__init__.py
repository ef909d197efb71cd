"""Inputs made up at random: everything that reads what a person, a file or a network gave refuses it in a sentence."""
