"""The site: pages of the guide, reference from the docstrings, help of every command, in English and in Chinese."""

LANGUAGES = ("en", "zh")
