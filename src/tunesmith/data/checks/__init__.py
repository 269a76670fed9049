"""What may be wrong with a data set: a catalogue of checks by name, run in one pass over the examples.

    findings = run_checks(examples, context=CheckContext())
    for finding in findings:
        print(finding.severity, finding.sentence, finding.option)

`finding` says what a check is and what it finds, `registry` has every check by name, `run` goes through the examples once, in several
processes. `each` makes a check of one function that finds a fault in one example: answers, mojibake, control_characters, residue,
pii, names, profanity. Others gather something from every example and judge the whole: truncated, lengths, balance, phrasing,
openings, phrases, refusals, diversity, languages. near_duplicates, contradictions, leakage, overlap and topics need all examples at
once. `counting` and `sampling` are their tools; `page` and `charts` show findings to people.
"""

from tunesmith.data.checks.finding import SEVERITIES, Check, CheckContext, Finding, Severity, Specimen
from tunesmith.data.checks.registry import CHECKS, default_checks
from tunesmith.data.checks.run import run_checks

__all__ = ["CHECKS", "SEVERITIES", "Check", "CheckContext", "Finding", "Severity", "Specimen", "default_checks", "run_checks"]
