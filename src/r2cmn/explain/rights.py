"""What the license of the data allows the outputs of an explanation to show."""

from __future__ import annotations

from dataclasses import dataclass

from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE


@dataclass(frozen=True)
class Rights:
    """The license of the data, and whether the user has permission to put them into a page.

    Under a data use agreement (`dua`) every file is private, and a page has neither words nor pictures unless the user
    says that it is permitted; it then carries the terms.

    Attributes:
        license_class: public, non_commercial or dua.
        has_permission: the user's word for it, `--i-have-permission`.
        terms: of the data, as text; "" if unknown.
    """

    license_class: str = "public"
    has_permission: bool = False
    terms: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only the owner may read the files."""
        return self.license_class == "dua"

    @property
    def file_mode(self) -> int:
        """Permissions of a file."""
        return PRIVATE_FILE if self.is_private else PUBLIC_FILE

    @property
    def shows_content(self) -> bool:
        """Whether a page may have words and pictures."""
        return not self.is_private or self.has_permission

    @property
    def shows_names(self) -> bool:
        """Whether a page may have the names of studies and image files."""
        return self.license_class == "public" or (self.is_private and self.has_permission)

    @property
    def sentence(self) -> str:
        """What a page says of itself."""
        if self.is_private:
            return (
                "This page shows reports and images under a data use agreement; its terms are below: do not pass it on."
                if self.has_permission
                else "Under the data use agreement this page shows neither words nor images nor ids."
            )
        named = "reports, images and ids" if self.shows_names else "reports and images, for non-commercial use"
        return f"This page shows {named}."
