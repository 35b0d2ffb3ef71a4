"""Annotations that transcripts write beside the words: `[laughter]`, `<unk>`, `(inaudible)`, `♪ ... ♪`, `*coughs*`, `SPEAKER 1:`."""

from __future__ import annotations

import re

# Square, curly, angle and lenticular brackets hold no speech in any convention of transcripts; parentheses and asterisks may.
BRACKETS = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|</?[^\s<>][^<>]*>|【[^【】]*】|〔[^〔〕]*〕")
SUNG = re.compile(r"[♩♪♫♬]+[^♩♪♫♬\n]*[♩♪♫♬]+")
ASIDES = re.compile(r"\(([^()]*)\)|(?<!\*)\*([^*\n]+)\*(?!\*)")
# The words by which an aside is known as an event and not as speech: English ones with their endings, begins of words of others.
ENGLISH_EVENTS = re.compile(
    r"""(?:laugh|chuckl|giggl|applau[ds]|clap|inaudibl|unintelligibl|indistinct|crosstalk|overlap|nois|music|silenc|silent|paus|cough|sneez
    |sniff|sigh|breath|inhal|exhal|gasp|groan|moan|grunt|cry|cries|sob|weep|whisper|shout|scream|yell|cheer|whistl|humm?|sing|mumbl|mutter
    |murmur|stutter|click|beep|bleep|ring|knock|clear|foreign|phonetic|sic|unclear|unk|unknown|background|static|censor|redact|throat|smack
    |thud|bang|slam|phone|bell|bark|thunder|footstep|laughter|noisy|blank_audio|vocalized|non-?speech)(?:e|s|es|y|p?ing|p?ed|ter)?""",
    re.VERBOSE,
)
EVENTS = re.compile(
    r"""lachen|lacht|gelächter|beifall|applaus|musi[kq]|rausch|geräusch|unverständl|husten|hustet|stille|seufz|räusper|rires?$|rit$|bruit
    |inaud|toux|soupir|risas?$|ríe|aplauso|música|ruido|silencio|tos$|suspir|risate|ride$|rumore|risos?$|ruído|gelach|muziek|skratt|смех
    |смеёт|смеет|аплодисмент|музыка|шум|неразборчив|кашел|тишина
    |笑|拍手|音楽|音乐|掌声|噪音|雑音|沈黙|静音|咳|무음|웃음|박수|음악|हँसी|हंसी|संगीत|तालियाँ|ضحك|موسيقى|تصفيق""",
    re.VERBOSE,
)
SPEECH = frozenset(
    ("i", "you", "he", "she", "we", "they", "it", "the", "and", "that", "is", "was", "are", "do", "don't", "my", "your", "his", "our")
)  # fmt: skip
MOST_WORDS = 4  # of an aside that is an event: longer ones are sentences
ROLE = (
    r"speaker|spkr?|interviewer|interviewee|moderator|narrator|sprecher(?:in)?|locuteur|locutrice|hablante|locutore?"
    r"|спикер|говорящий|发言人|说话人|話者|スピーカー"
)
NUMBERED = r"\s?[-_#]?\s?(?:\d{1,3}|[a-z])"
LABEL = re.compile(
    rf"(?:^|(?<=[\s.!?…]))(?:>>\s*)?(?:(?:{ROLE}){NUMBERED}|s\d{{1,2}})\s?:(?!\d)"
    rf"|(?:^|(?<=\n))\s*(?:>>\s*)?(?:{ROLE})\s?:|(?:^|(?<=\s))>>+",
    re.IGNORECASE,
)  # fmt: skip


def without_annotations(text: str) -> str:
    """The text (NFKC) with its annotations as spaces.

    All that stands in `[]`, `{}`, `<>`, `【】` or between notes (`♪`) goes. What stands in parentheses or asterisks goes where it
    names an event (laughs, inaudible, Musik, 笑 ...) in at most four words, and is speech otherwise: whole sentences stand there, too.
    """
    while (next_text := BRACKETS.sub(" ", text)) != text:
        text = next_text
    text = ASIDES.sub(_aside, SUNG.sub(" ", text))
    return LABEL.sub(" ", text)


def _aside(match: re.Match[str]) -> str:
    words = [word.strip("-–—.,!?\"'") for word in (match[1] or match[2] or "").casefold().split()]
    event = any(ENGLISH_EVENTS.fullmatch(word) or EVENTS.match(word) for word in words)
    return " " if event and len(words) <= MOST_WORDS and not SPEECH.intersection(words) else match[0]
