"""Experts compare or score held-out answers, blind: what is asked, the session at the keyboard, agreement, the summary."""
