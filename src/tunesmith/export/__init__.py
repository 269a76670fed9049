"""A tuned model -> the formats that the rest of the world runs, each checked against the model it was made from."""
