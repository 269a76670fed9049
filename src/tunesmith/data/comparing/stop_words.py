"""English words that say nothing about the subject of a text: one list for topics, error groups and probes.

>>> {"how", "do", "bill"} - STOP_WORDS
{'bill'}

Unlike scikit-learn's list it holds no nouns and verbs that may be a subject (`bill`, `call`, `fire`, `interest`, `system`).
"""

STOP_WORDS = frozenset(
    """a about above across after afterwards again against all almost along already also although always am among amongst an and another
    any anyhow anyone anything anyway anywhere are around as at be became because become becomes becoming been before beforehand behind
    being beside besides between beyond both but by can cannot could did do does doing don done down due during each eg either else
    elsewhere enough etc even ever every everyone everything everywhere except few for former formerly from further get give go got had
    has have having he hence her here hereafter hereby herein hers herself him himself his how however i ie if in indeed into is isn it
    its itself just keep last latter least less let like ll made make many may me meanwhile might mine more moreover most mostly much
    must my myself namely need neither never nevertheless next no nobody none nor not nothing now nowhere of off often ok on once one
    only onto or other others otherwise our ours ourselves out over own per perhaps please put quite rather re s same see seem seemed
    seeming seems several shall she should since so some somehow someone something sometime sometimes somewhere still such t take tell
    than thank thanks that the their theirs them themselves then thence there thereafter thereby therefore therein these they thing things
    this those though through throughout thru thus to together too toward towards two under until up upon us use used using ve very via
    was way we well were what whatever when whenever where whereas whereby wherein wherever whether which while who whoever whole whom
    whose why will with within without won would write yes yet you your yours yourself yourselves""".split()  # noqa: SIM905 (a list literal would be 300 lines)
)
