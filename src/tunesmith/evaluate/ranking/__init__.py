"""Votes on any number of models to a ranking: Bradley-Terry with intervals, Elo, win rates, also at equal length."""
