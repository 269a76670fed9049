"""GGUF, the file that llama.cpp and what is built on it run."""
