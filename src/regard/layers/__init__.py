"""The attention core (floor 1): modules that take plain values and know no config, tokenizer or file."""
