"""Built-in mixers: arithmetic from what each source has, and a budget, to the tokens of each. Found by name."""
