"""What holds for every page."""

from html.parser import HTMLParser

MARKUP = "<script>alert(1)</script> <!-- & \"quoted\" 'single' {{ 123 * 457 }} {% x %} é 肺"
"""A text that breaks a page unless it is escaped."""
EVIL = f"{MARKUP} \x00 \ud800"
"""The same with characters that no page may hold."""


class Checker(HTMLParser):
    """Checks that every element is closed in order and that nothing is fetched from elsewhere."""

    VOID = ("meta", "br", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert name not in ("src", "href", "xlink:href") or value.startswith(("#", "data:image/png;")), (
                tag,
                name,
                value,
            )
            assert not name.startswith("on"), (tag, name, value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def handle_comment(self, data):
        self.tags.append("comment")


def check_page(page):
    """Return the tags and the visible text of a page."""
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert "This is research software and not a medical device." in " ".join(page.split())
    return checker.tags, " ".join(" ".join(checker.words).split())


def check_escaped(page, evil=EVIL, times=1):
    """Check that a page shows an evil text as text, at least `times`, and nothing of it as markup; return its tags."""
    tags, words = check_page(page)
    page.encode()
    assert "\x00" not in page
    assert not {"comment", "iframe"} & set(tags)
    shown = " ".join(evil.replace("\x00", "\ufffd").replace("\ud800", "\ufffd").split())
    assert words.count(shown) >= times, (words.count(shown), words)
    assert "56211" not in words  # the expression was not evaluated
    return tags
