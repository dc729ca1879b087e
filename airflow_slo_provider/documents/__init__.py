"""Reading YAML documents by people: exact numbers, durations, and for everything that is wrong a line and a sentence."""
