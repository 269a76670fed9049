"""The command line: one file a verb, each parsing, calling one function of another room, and printing.

main          the verbs in order, errors to exit codes
command       how a verb's function becomes a command; options the verbs share are in `options`
terminal      standard output for results, standard error for everything else; progress is drawn in `progress`
"""
