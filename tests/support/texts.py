"""Random texts for comparisons of tokenizers."""

from collections.abc import Sequence

from hypothesis import strategies as st


def texts_of(pieces: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts of up to 12 parts, each one of the pieces or up to 6 Unicode characters other than surrogates."""
    characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    return st.lists(st.one_of(st.sampled_from(pieces), characters), max_size=12).map("".join)
