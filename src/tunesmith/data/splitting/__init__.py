"""Clusters and the side of each."""
