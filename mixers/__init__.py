"""Built-in mixers: arithmetic from what each source has, and a budget, to what each gets. Found by name."""
