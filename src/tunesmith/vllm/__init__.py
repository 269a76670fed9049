"""vLLM beside our own engine: its command line, a process of it that lives as long as we do, and answers from that.

In the order of use: models (what it can serve) -> command (the words) -> chat_template (ours, for it) -> server and keeper (the
process) -> answers (prompts in, completions out, as our engine gives them).
"""
