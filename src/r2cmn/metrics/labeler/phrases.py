"""Table of phrases of the rule labeler.

A phrase is a regular expression over a normalized sentence: lower case, words between single spaces, hyphens replaced
by spaces, commas and colons as separate words. It matches at word boundaries; `-s` at the end of a word allows a
plural. Repetitions in a phrase are bounded, so matching takes linear time.

The classes follow CheXpert (Irvin et al., 2019): heart failure and congestion count as Edema, infiltrates and scars as
Lung Opacity, a nodular opacity as Lung Opacity and as Lung Lesion. The phrases are our own. A calcified granuloma, a
blunted costophrenic angle, a deformity and a surgical clip are none of the 14 observations.
"""

MENTIONS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        r"(?:mediastinal|mediastinum) (?:widening|enlargement|prominence)",
        r"(?:widening|enlargement|prominence) of the (?:\w+ ){0,2}(?:cardio ?)?mediastin\w+",
        r"wide(?:ned)? (?:\w+ )?mediastin\w+",
    ),
    "Cardiomegaly": (
        r"cardiomegaly",
        r"(?:cardiac|heart) enlargement",
        r"enlargement of (?:the )?(?:mediastinum (?:and|or) (?:of )?(?:the )?)?(?:heart|cardiac)",
    ),
    "Lung Opacity": (
        r"opaci(?:ty|ties|fication|fications|fied)",
        r"air ?space (?:disease|process|filling)",
        r"infiltrat(?:e|es|ion|ions)",
        r"(?:increased|abnormal|patchy|hazy|basilar|basal|airspace) densit(?:y|ies)",
        r"(?:increased|prominent|prominence of|coarse|coarsened|accentuated"
        r"|abnormal) (?:\w+ ){0,3}interstitial markings?",
        r"(?:increased|prominent|coarse|coarsened) (?:lung|bronchovascular|bronchial) markings?",
        r"interstitial (?:pattern|thickening|prominence|disease|lung disease|changes?)",
        r"(?:pulmonary|lung|interstitial|basilar|apical) fibrosis",
        r"reticula(?:r pattern|r markings?|r changes|tion|tions)",
        r"(?:peribronchial|bronchial wall) (?:cuffing|thickening)",
        r"scar-s|scarring",
    ),
    "Lung Lesion": (
        r"nodul(?:e|es|arity)",
        r"nodular (?:densit|opaci|lesion|focus|foci)\w*",
        r"mass|masses",
        r"(?:cavitary|pulmonary|lung|lytic lung) lesion-s",
        r"neoplasm-s|tumou?r-s|malignanc(?:y|ies)|carcinoma-s|metastas[ie]s|metastatic disease",
    ),
    "Edema": (
        r"o?edema|lungs? (?:is|are|appears?|remains?) (?:\w+ )?o?edematous",
        r"heart failure|chf|cardiac decompensation|fluid overload|volume overload",
        r"vascular (?:\w+ )?(?:congestion|engorgement|redistribution|cephalization)",
        r"congestion|vascular prominence|prominence of the (?:\w+ ){0,2}(?:vasculature|vascularity|vessels)",
        r"(?:prominent|engorged|indistinct|increased) (?:\w+ ){0,2}(?:vascularity|vasculature|vascular markings"
        r"|vessels)",
        r"(?:vascularity|vasculature|vascular markings|vessels) (?:is|are|appears?"
        r"|remains?) (?:\w+ ){0,2}(?:prominent|engorged|increased"
        r"|congested|indistinct)",
        r"congestive (?:changes?|failure)",
        r"cephalization",
        r"engorge(?:ment|d) (?:\w+ ){0,3}(?:vessels|vasculature)",
    ),
    "Consolidation": (r"consolidat(?:ion|ions|ive|ed)",),
    "Pneumonia": (
        r"(?:broncho ?)?pneumonia-s",
        r"infections?|infectious (?:\w+ )?(?:process|etiology|disease|infiltrate)",
    ),
    "Atelectasis": (
        r"atelect(?:asis|ases|atic)",
        r"(?:lobar|lobe|lung|segmental|pulmonary|partial|subsegmental) collapse",
        r"collapse of (?:the )?(?:\w+ ){0,3}(?:lobe|lung|lingula)",
        r"collapsed (?:\w+ ){0,3}(?:lobe|lung)",
    ),
    "Pneumothorax": (r"(?:hydro|haemo|hemo)?pneumothora(?:x|xes|ces)",),
    "Pleural Effusion": (
        r"effusion-s",
        r"(?:pleural|fissural) fluid",
        r"fluid in the (?:\w+ ){0,2}(?:pleural space|fissure)-s",
        r"(?:hydropneumo|haemopneumo|hemopneumo|hydro|haemo|hemo)thora(?:x|xes|ces)",
        r"empyema",
    ),
    "Pleural Other": (
        r"pleural (?:\w+ ){0,2}(?:thickening|scar|scarring|plaque|calcification)-s",
        r"(?:thickening|scarring|calcification) of the (?:\w+ ){0,2}pleura",
        r"pleuro ?parenchymal (?:scar|scarring|thickening)-s",
        r"(?:apical|biapical) (?:\w+ )?(?:thickening|cap|caps|capping)",
        r"fibrothorax|pleura (?:\w+ ){1,3}thickened|thickened (?:\w+ )?pleura",
    ),
    "Fracture": (r"fracture-s|fractured|broken (?:\w+ )?(?:rib|bone)-s|(?:rib|bone)-s (?:is|are) broken",),
    "Support Devices": (
        r"(?:pacemaker|pacer|defibrillator|aicd|icd|generator)-s",
        r"(?:pacing|pacer|pacemaker|icd|monitoring|ecg|ekg|ventricular|atrial) (?:lead|wire|electrode)-s|lead-s",
        r"catheter-s|picc-s|port-s|port ?a ?cath-s|mediport-s|swan ganz|introducer|sheath",
        r"line-s",
        r"tube-s|ett|ngt|dobb?hoff|tracheostomy",
        r"(?:pigtail|drain)-s",
        r"(?:prosthetic|mechanical|artificial|bioprosthetic|replaced) (?:\w+ ){0,2}valve-s|valve (?:replacement"
        r"|prosthes[ie]s)",
        r"prosthes[ie]s|prosthetic (?:\w+ )?(?:shoulder|hip|joint)|arthroplast(?:y|ies)|hardware|fixation|(?:plate"
        r"|screw|rod)-s",
        r"(?:stent|shunt|stimulator|cannula|endograft)-s|ivc filter",
        r"balloon pump|assist device|lvad|impella|device-s|ecmo",
        r"(?:sternotomy|sternal|cerclage|median) (?:\w+ )?wire-s",
    ),
}
"""Observation -> phrases that mention it."""

_HARDWARE = r"(?:wire|lead|catheter|screw|rod|plate|stent|hardware|electrode)s?"
_NO_DEVICE = (
    r"(?:opaci|densit|atelecta|scar|lucenc|calcifi|consolidat|thicken|demarcat|fractur|infiltrat|collaps|diseas|pleura"
    r"|fissure|fat|air|gas|fluid|sight|stress|contact|reflection)\w*"
)
EXCLUSIONS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (),
    "Cardiomegaly": (),
    "Lung Opacity": (
        r"pleur\w+ (?:\w+ )?scar\w*",
        r"(?:surgical|skin|sternotomy) scar\w*",
        r"opaci\w+ (?:of|in|with|by) (?:the |this )?(?:oral |iv )?(?:contrast|film|image|exposure|radiograph)",
        r"opacified (?:\w+ )?(?:bowel|colon|stomach|o?esophagus|vessel|arter(?:y|ie)|vein)s?",
        r"(?:increased|abnormal) densit\w+ (?:of|in) (?:the )?(?:\w+ )?(?:bone|rib|vertebra|breast|tissue)\w*",
        r"(?:fat|fatty|marrow) infiltrat\w+",
    ),
    "Lung Lesion": (
        r"mass effect",
        r"(?:breast|thyroid|adrenal|renal|liver|hepatic|neck|soft tissue|osseous|bone|abdominal) (?:mass|nodul|lesion"
        r"|tumor|neoplasm)\w*",
        r"(?:simulat\w+|mimic\w*) (?:a )?(?:pulmonary |lung )?nodul\w+",
        r"(?:body|muscle|lean|fat|ventricular|myocardial) mass|mass index|tumou?r (?:board|marker)s?",
    ),
    "Edema": (
        r"(?:soft tissue|subcutaneous|chest wall|peripheral|ankle|leg|cerebral|body wall|pedal|extremity|marrow|facial"
        r"|laryngeal|bowel wall) o?edema",
        r"(?:nasal|sinus|hepatic|bowel) congestion",
    ),
    "Consolidation": (
        r"(?:bony|osseous|fracture|callus) consolidation",
        r"consolidat\w+ (?:of (?:the )?)?(?:\w+ ){0,2}(?:fracture|chemotherapy|therapy)s?",
    ),
    "Pneumonia": (
        r"(?:granulomatous|prior|previous|old|remote|healed) (?:\w+ ){0,2}infections?",
        r"(?:urinary|tract|wound|skin|sinus|bone|joint|line|pocket) infections?|infection control",
    ),
    "Atelectasis": (
        r"(?:vertebral|tracheal|vertebral body) collapse",
        r"collapse of (?:the )?(?:\w+ ){0,2}(?:vertebra\w*|endplate|trachea|[tl]\d+)",
    ),
    "Pneumothorax": (),
    "Pleural Effusion": (r"(?:pericardial|joint|knee|shoulder|elbow|hip|ankle) (?:joint )?effusions?",),
    "Pleural Other": (),
    "Fracture": (
        rf"fractured (?:\w+ )?{_HARDWARE}|fractures? of (?:the |a )?(?:\w+ ){{0,2}}{_HARDWARE}",
        rf"{_HARDWARE} (?:(?:is|are|appears?|remains?|now) ){{0,2}}fracture[sd]?",
    ),
    "Support Devices": (
        r"(?:kerley|kerley \w|septal|fissural|fissure|pleural|paraspinal|paratracheal|junction|axillary|midclavicular"
        r"|fracture|lucent"
        r"|hair|skin|fold|mid|lung|joint|azygoesophageal|stripe|b|fat|psoas|scapular|nipple|growth|tram|main|bottom"
        r"|first|second|white|lucent|dense|bright|dark|wavy) lines?",
        rf"(?:line|tube|plate|rod)s? of (?:the )?(?:\w+ ){{0,2}}{_NO_DEVICE}",
        r"(?:in|by|on|along|out of) line|line (?:shadow|opacity|atelectasis|between)s?",
        r"lead to|leads to(?! (?:the )?(?:\w+ ){0,3}(?:atri|ventric|coronary|apex))|leads? (?:shield|marker|apron|room"
        r"|point|poisoning)|right lead|(?:may|might|can|could|will|would) lead",
        r"(?:bronchial|x ray) tubes?|tube (?:current|voltage|like)|(?:plate|rod|line|wire|catheter) like",
        r"via port|port (?:wine|of entry)",
        r"breast (?:prosthes[ie]s|implants?)|(?:hot|growth|image|imaging|detector) plates?|end ?plates?",
        r"drain(?:s|ed)? (?:from|into)|gram (?:negative|positive) rods?|(?:nerve|tendon|rectus|carotid) sheath",
        r"(?:left to right|right to left|intracardiac|cardiac|vascular) shunts?",
    ),
}
"""Observation -> phrases in which its mention has another meaning."""

ANATOMY: dict[str, str] = {
    "Enlarged Cardiomediastinum": (
        r"(?:cardio ?)?mediastin(?:um|al)(?: (?:silhouette|contour|structure|border|width|size|shadow"
        r"|configuration)s?)?"
        r"(?! (?:\w+ )?(?:shift|mass|lymph|adenopathy|lymphadenopathy|air|drain|clip|lipomatosis|widening|enlargement"
        r"|prominence|fat"
        r"|hematoma|emphysema|wire|tube|node)s?)"
    ),
    "Cardiomegaly": (
        r"(?:heart|cardiac)(?: (?:size|silhouette|contour|shadow|configuration)s?){0,2}"
        r"(?! (?:failure|border|valve|surgery|device|pacemaker|pacer|monitor|decompensation|apex|transplant"
        r"|enlargement|rate)s?)"
    ),
}
"""Observation -> the structure whose size defines it."""

ENLARGED = r"enlarged|large|larger|big|wide|widened|prominent|dilated|increased|increase in|magnified"
NORMAL = r"normal|unremarkable|within limits|negative"
BORDERLINE = (
    r"borderline(?: in)?(?: (?:enlarged|prominent|enlargement|size|normal))?|(?:top|upper"
    r"|high) ?(?:limits? )?(?:of )?(?:the )?normal"
    r"|upper range of normal"
)
ALONGSIDE = (
    "and", "the", "of", "in", "both", "size", "contour", "contours", "silhouette", "silhouettes", "shadow", "cardiac",
    "heart", "mediastinal", "mediastinum", "cardiomediastinal", "superior", "hilar", "hila", "pulmonary", "vascularity",
    "vasculature", "vascular", "vessels", "great", "lungs", "lung", "aorta", "aortic", "structures", "border",
    "borders", "xxxx", ",",
)  # fmt: skip
"""Words allowed between a structure and a statement about it and its neighbors."""
