"""Weights of one network spread over the processes of a group (torch FSDP2), each layer gathered for its turn only.

Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", arXiv:2304.11277; FSDP2:
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html.
"""
