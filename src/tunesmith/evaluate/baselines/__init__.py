"""Is fine-tuning the right tool? The same held-out examples answered in other ways, with what each costs."""
