"""The terms of the collection, in plain words, as they lie beside the data."""

LICENSE_CLASS = "non_commercial"

TERMS = """\
Indiana University Chest X-ray Collection (IU X-Ray, NLMCXR)
Distributed by Open-i, U.S. National Library of Medicine: https://openi.nlm.nih.gov/
Cite: Demner-Fushman et al., Preparing a collection of radiology examinations for distribution and retrieval,
Journal of the American Medical Informatics Association 23(2), 2016, pages 304-310.

license_class: non_commercial
Licence, as every report of the archive names it: CC BY-NC-ND 4.0,
http://creativecommons.org/licenses/by-nc-nd/4.0/

In plain words
- You may use the reports and images, for purposes that are not commercial, if you name their source.
- You may not pass on an altered copy. This folder is one: its images are resized. Keep it to yourself; whoever wants
  the same folder downloads the collection and gives the same command.
- Words that were removed to protect patients read XXXX. Do not try to find out who they are.
"""
