"""Table of cues of the rule labeler, which make a mention absent, uncertain or without a label.

Regular expressions as in `phrases`. A cue before a mention reaches forward, one after it reaches back, both up to a
`TERMINATORS` match. If several apply, the first of this order counts: not excluded, negation, unreal, doubt.
"""

_CHANGE = (
    r"(?:change|changes|increase|decrease|worsening|progression|improvement|difference|resolution|clearing|alteration"
    r"|reduction|regression)"
)
_ADVERBS = r"(?:\w+ ){0,3}"
_GONE = r"(?:resolved|cleared|resolve|clear|disappeared)"
_VERBS = r"(?:(?:is|are|was|were|be|been|being|has|have|to|would|felt|thought|considered) ){0,4}"
_SHOWN = (
    r"(?:seen|identified|noted|present|visuali[sz]ed|appreciated|evident|detected|demonstrated|visible|found|observed"
    r"|apparent|shown"
    r"|suspected|suggested|confirmed|included)"
)
_ELSEWHERE = r"(?:the |a |an )?(?:lateral|frontal|prior|previous|recent|earlier|comparison|pa|ap)"

NOT_CUES = (
    rf"(?:no|without)(?: any)? (?!evidence|new)(?:(?:\w+) ){{0,3}}?{_CHANGE}\b(?! or\b| nor\b)",
    rf"not {_ADVERBS}(?:changed|increased|decreased|improved|worsened|progressed)\b",
    rf"not (?:yet )?{_ADVERBS}{_GONE}\b",
    rf"(?:fail\w*|yet) to {_GONE}\b",
    rf"(?:almost|nearly|partially|partly|mostly|largely|incompletely|near) (?:\w+ )?{_GONE}\b",
    r"(?:near|partial|incomplete|almost|some|nearly)(?: complete)? (?:interval )?(?:resolution|clearing) of\b",
    r"(?:ensure|document|confirm|follow|to|until|assess|verify)(?: to)?(?: complete| full)? (?:resolution"
    r"|clearing)(?: of)?\b",
    r"cannot be (?:\w+ )?(?:distinguished|differentiated|separated)\b",
    r"no doubt\b",
    r"(?:likely|probably|may|might|could) (?:account|explain)\w*\b",
    r"not (?:only|just|merely|necessarily|much)\b",
    r"not (?:absent|negative for|free of|clear of|free from|without)\b",
    rf"tips? (?:\w+ ){{0,8}}(?:not|cannot be) (?:\w+ ){{0,2}}{_SHOWN}\b",
)
"""Words that look like a cue but are none, such as "no change in". They are replaced by "#" first, which begins a new
part of the sentence."""

NOT_EXCLUDED_BEFORE = (
    r"(?:cannot|can not|can't|could not|couldn't|not|difficult to|hard to|impossible to|unable to"
    r"|without) (?:\w+ ){0,2}"
    r"(?:exclude|rule out|excluding)",
)
NOT_EXCLUDED_AFTER = (
    rf"{_VERBS}(?:cannot|can not|can't|could not|couldn't|not|never) (?:\w+ ){{0,2}}(?:excluded|ruled out|confirmed)",
    rf"{_VERBS}(?:difficult|hard|impossible) to (?:\w+ )?(?:exclude|rule out)",
    rf"{_VERBS}not (?:\w+ )?unlikely",
    rf"{_VERBS}neither (?:\w+ )?(?:confirmed|proven|established) nor (?:\w+ )?(?:excluded|ruled out)",
)
"""Uncertainty in the words of a negation."""

_SMALL = r"(?:small|tiny|minimal|trace|trivial|subtle|mild|minor|little|negligible)"
_ONE = rf"(?:it|this|that|these|they|them|(?:a |an )?(?:very )?(?:{_SMALL} )?(?:one|ones|amount|component|volume))"
_UNSEEN = (
    r"(?:may|might|could|would) (?:\w+ )?be (?:\w+ )?(?:missed|hidden|obscured|overlooked|masked|occult"
    r"|(?:difficult|hard|impossible) to (?:detect|see|identify|appreciate))"
)
WITHDRAWN_AFTER = (
    rf"(?:, )?(?:but|although|though|yet|however|while|and|which)(?: ,)? (?:{_ONE} )?{_VERBS}"
    rf"(?:(?:cannot|can not|can't|could not|couldn't|not|never) (?:\w+ ){{0,2}}"
    rf"(?:excluded|ruled out|(?:exclude|rule out) {_ONE})|(?:is|are|be|remains?) (?:\w+ )?(?:possible|suspected)"
    rf"|(?:difficult|hard|impossible) to (?:\w+ )?(?:exclude|rule out)|(?:may|might|could) be (?:present|there)"
    rf"|{_UNSEEN}|(?:possibly|probably|perhaps|likely|maybe) {_ONE})",
    rf"(?:, )?nor can {_ONE} be (?:\w+ )?(?:excluded|ruled out)",
)
"""Clauses that make a negation before them uncertain: "no effusion is seen, but a small one is possible"."""

NEGATION_BEFORE = (
    r"no",
    r"not(?! (?:\w+ )?(?:exclude|rule|sensitive)| clearly)",
    r"without|rather than",
    r"negative for",
    r"(?:free|clear|cleared|devoid) (?:of|from)",
    r"(?:absence|lack|resolution|removal) of",
    r"neither|nor|never|none of",
    r"fail\w* to (?:show|demonstrate|reveal)",
    r"denies",
    r"ruled out for",
)
NEGATION_BESIDE = (r"(?<!has )(?<!have )(?<!been )(?<!is )(?<!are )(?:resolved|absent|removed)",)
"""Adjectives, which reach over at most three words."""
NEGATION_AFTER = (
    rf"{_VERBS}(?:not|no longer|cannot be) (?!well |clearly |optimally |fully )(?:\w+ ){{0,2}}{_SHOWN}(?! (?:on"
    rf"|in) {_ELSEWHERE}\b)",
    rf"(?:has|have) (?:\w+ ){{1,3}}and (?:is|are) no longer {_SHOWN}",
    r"(?:is|are|appears?|remains?) (?:\w+ )?within (?:normal )?limits",
    r"(?:is|are|was|were) (?:\w+ )?(?:absent|resolved|gone)",
    r"(?:has|have|had|having|now) (?:\w+ ){0,2}(?:resolved|cleared|disappeared)",
    r"(?:has|have|had|was|were|is|are) (?:\w+ ){0,2}(?:removed|discontinued|ruled out|excluded)",
    r": (?:none|no|absent|negative|not \w+)",
    r"(?:is|are|seems?|appears?|considered|felt to be|thought to be) (?:\w+ )?unlikely",
)

_IF_THERE = r" there (?:is|are|were|was) (?:\w+ ){1,6}, (?:it|they|this|these) "
UNREAL_BEFORE = (
    r"(?:history|hx) of|h o",
    r"(?:evaluate|evaluated|assess|assessed|evaluation|assessment|look|looking|check|screening|monitor) for",
    r"(?<!further )(?:evaluation|assessment|exclusion) of",
    r"correlat\w+ (?:\w+ ){0,2}(?:for|regarding|with)",
    r"(?:treatment|treated|therapy|surgery|resection|evaluated) (?:for|of)",
    r"rule out|r o",
    r"to detect|detecting|detection of",
    r"(?:in)?sensitiv\w+ (?:of \w+ )?(?:to|for|in)|(?:limited|inadequate|suboptimal|insufficient) for",
    rf"if(?! any|{_IF_THERE}|(?<=, if) \w+ ,)|in case of|unless",
    r"indication :",
)
"""History, questions and conditions: the mention does not count."""

UNREAL_AFTER = (r"may not (?:always )?be (?:demonstrated|seen|visible|detected|apparent)",)

DOUBT_BEFORE = (
    r"possib(?:le|ly|ility)|probabl[ey]|likely|perhaps|maybe|potential(?:ly)?|presum\w+|conceivabl[ey]|equivocal"
    r"|tentative",
    r"suspect\w*|suspicion|suspicious (?:for|of)|worrisome for|worry for|concern(?:ing|s|ed)?(?: is)? (?:for|of|about)",
    r"question(?:able)?|query|questioned",
    r"may|might|could",
    r"suggest(?:s|ing|ion of|ions of|ive of)?",
    r"consider|exclude|differential|versus|vs",
    r"raises?|raising",
    r"(?:thought|felt|believed) to (?:represent|reflect|be)|favou?r(?:s|ed|ing)?|unclear|whether|doubtful|if any"
    r"|not clearly",
    r"cannot|borderline",
    rf"if(?={_IF_THERE})|any(?= (?:\w+ ){{1,4}}(?:is|are|would be|must be) (?:\w+ ){{0,2}}{_SMALL}\b)",
    r"in the (?:appropriate|right|proper|correct) clinical (?:setting|context)",
)
DOUBT_AFTER = (
    r"(?:(?:is|are|appears?|remains?) (?:\w+ ){1,3})?if any|until prove[nd] otherwise",
    _UNSEEN,
    r"(?:is|are|was|were|be|remains?) (?:\w+ )?(?:possible|suspected|questioned|considered|questionable|raised"
    r"|presumed|favou?red)",
    r"(?:is|are|was|were|be) (?:\w+ ){0,2}(?:likely|probable)(?= ?$| ,| given| in | present)",
    rf"{_VERBS}(?:less|more) likely(?= ?$| ,| given| in )",
    r"(?:is|are|be|remains?) (?:\w+ ){0,2}(?:consideration|possibility|concern|in the differential)",
    rf"{_VERBS}not (?:well|clearly|optimally|fully) {_SHOWN}",
    r"in the (?:appropriate|right|proper|correct) clinical (?:setting|context)",
    r"(?:may|might|could|should) be (?:present|there|considered|suspected)",
)
ALTERNATIVES = (r"or|versus",)
"""Between two mentions that are not negated: both are uncertain."""

_HEDGES = "probable|probably|possible|possibly|likely|perhaps|maybe|questionable|suspected|presumed|presumably"
TERMINATORS = (
    r"(?:but|however|although|though|yet|while|whereas|because|except|save for|aside from|apart from|other than"
    r"|otherwise|now|(?<!consistent )(?<!compatible )with)\b",
    r"#+",
    r"(?:after|following|status post|s p|in the setting of|despite|as well as)\b",
    r"(?:and|,) (?=(?:there|the|a|an|is|are|has|have|this|that|heart|lungs?|now|trace|tiny|definite|again)\b)",
    r"and (?=(?:also|stable|unchanged|persistent|persisting|new|increas\w+|decreas\w+|worsen\w+|improv\w+|residual"
    r"|small|mild\w*"
    rf"|moderate\w*|large|bibasilar|bilateral|{_HEDGES})\b)",
    r", (?=(?:stable|unchanged|persistent|new|increas\w+|decreas\w+|worsen\w+|improv\w+|residual|small|mild|minimal"
    r"|moderate|large"
    rf"|bibasilar|bilateral|right|left|{_HEDGES})(?! (?:\w+ (?:, )?){{0,12}}(?:or|nor)\b)\b)",
    r", (?:and )?(?=(?:\w+ ){1,3}if any\b)",
    r"(?<=obscured )by\b|(?<=hidden )by\b|(?<=masked )by\b",
    r"(?<=seen )(?:and|,)|(?<=identified )(?:and|,)|(?<=noted )(?:and|,)|(?<=present )(?:and|,)",
)
"""Ends of the parts of a sentence; a lookahead belongs to the next part."""
FORWARD_TERMINATORS = (r"which",)
"""Ends of the reach of cues before a mention only."""

BARRIERS = (
    r"(?:is|are|was|were|has|have|had|remains?|appears?|seems?|may|might|could|can|represent\w*|reflect\w*|suggest\w*"
    r"|due to|related to"
    r"|consistent with|compatible with|concerning for|worrisome for|suspicious for|suspected|no|without)",
)
"""Words over which no cue reaches back, because they begin another statement."""
