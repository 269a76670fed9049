"""Several processes as one: who they are, how they are started, what they tell each other."""
