"""A prepared directory -> hub, hosted tuners, subsets."""
