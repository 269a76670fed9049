"""Many runs over what is varied: amount of data, models, settings, seeds; and what they say together."""
