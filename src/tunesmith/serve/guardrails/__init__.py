"""Rules that look at prompts before generation and at answers after it.

>>> rails = Guardrails.from_config(load_settings(Path("guardrails.yaml")), run="runs/faq")
>>> rails.check_prompt([Message(role="user", content="Who won the war of the roses?")]).answer
"Let's keep the discussion relevant to our shop."

One module a rule: its name, its typed settings, a pure function. `rules.py` puts them in order, `trial.py` tries them on data.
"""
