"""Error-budget policies and the decisions that follow from them."""
