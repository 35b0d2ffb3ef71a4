"""Languages of texts in Latin script, offline: told by their most frequent words and by letters that only they have."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache

# Words that English shares with another language are no evidence (`WORDS` is without them).
FREQUENT = {
    "en": """the of and that it for you with are this be have from or had by not but what were we when your can said there
        which their will about many then them these would how she they his her my our has been who its if out where
        after before because while could should did does just into over than him us am he was is in at as do so to i
        don't it's please here some any very""",
    "de": """guten morgen danke bitte hallo tag hier mein gut der die das und ist nicht ich du er sie wir ihr ein eine einen
        einem einer den dem des mit für von zu auf im auch wie aber bei nach oder wenn nur noch sich hat haben wird
        werden sind war bin bist es uns mich dich mir dir kein keine heute über""",
    "nl": """goedemorgen dank het een van en ik je niet zijn dat met voor maar ook naar bij uit wij jij hij zij deze dit wat
        hebben heeft ben bent geen nog wel als dan door aan om er zich""",
    "fr": """bonjour merci à beaucoup le la les des du une est et je tu il elle nous vous ils que qui ne pas dans pour sur
        avec ce cette ces mais ou où au aux mon ma mes son sa ses suis sont être avoir plus c'est l'on j'ai qu'il très
        bien aussi comme tout""",
    "es": """dónde cómo qué cuándo mis tus buenos buenas días gracias hola muchas el la los las una y que es en por para con
        del se al lo como más pero sus le ya este sí porque esta entre cuando muy sin sobre también hasta hay donde
        quien desde todo nos yo tú él ella estoy está están tengo soy""",
    "it": """buongiorno grazie ciao tutti il lo la gli le un una di che è e per con non si del della dei delle nel nella sono
        mi ti ci ma anche come più questo questa ho hai ha abbiamo hanno sei io tu lui lei noi voi loro molto""",
    "pt": """bom dia obrigado obrigada os um uma de da dos das que é e em no na nos nas por para com não se mais mas como ao
        ele ela eu você nós eles está são foi tem ser muito também já isso este esta meu minha seu sua""",
    "ca": """el la els les una i que és en per amb del dels al no es com més però són aquest aquesta jo tu ell ella nosaltres
        molt també hi ha""",
    "ro": """și este sunt nu că cu de din la pe un o în ce mai eu tu el ea noi voi ei pentru sau dar care acest această
        foarte am ai""",
    "sv": """god hej tack heter och att det är jag du han hon vi ni de en ett som på med för inte av till har den var mig dig
        sig men om från""",
    "da": """og at det er jeg du han hun vi de en et som på med for ikke af til har den var mig dig sig men om fra""",
    "no": """og at det er jeg du han hun vi de en et som på med for ikke av til har den var meg deg seg men om fra""",
    "fi": """hyvää ja on ei se hän minä sinä me he että oli mutta kun niin kuin myös tämä ovat olen olet ole joka mitä vain
        nyt""",
    "pl": """dzień dobry i w nie na się z do to jest że jak ale o co tak za ten czy jestem są był była dla po od tylko może
        już ja ty on ona my""",
    "cs": """dobrý den a je se na v že s z do o i to jak ale ne jsem jsi jsou byl byla pro po od jen už tak ten ta co já ty
        on ona my""",
    "hu": """jó köszönöm a az és hogy nem is egy van ez meg csak de ha már mint én te ő mi ti ők volt vagy nagyon""",
    "tr": """ve bir bu da de için ile çok ne gibi daha o ben sen biz siz onlar değil var yok ama en her şey""",
    "vi": """và là của có không tôi bạn các những một cho được với người này trong đã đến khi anh em chị chúng rất""",
    "id": """yang dan di ke dari ini itu dengan untuk tidak saya anda kamu dia kami kita mereka akan ada adalah pada juga
        sudah""",
    "sw": """na ya wa ni kwa za la katika hii hiyo mimi wewe yeye sisi ninyi wao lakini sana kama""",
    "tl": """ang ng mga sa na ay ko mo siya ako ikaw tayo kami sila hindi ito iyon para""",
    "hr": """i je se u na da su za od s ne što kao ali sam si smo ste bio bila koji koja nije to""",
    "lt": """ir yra kad su į iš tai ne bet kaip aš tu jis ji mes jūs jie buvo""",
    "lv": """un ir kas ar no uz par ka bet es tu viņš viņa mēs jūs viņi bija""",
    "et": """ja on ei see et ta ma sa me te nad oli aga kui ka""",
}
# Letters that no English loan word has: evidence of another language, and of which.
LETTERS = {
    "ß": "de", "ğ": "tr", "ş": "tr", "ł": "pl", "ż": "pl", "ś": "pl", "ź": "pl", "ę": "pl", "ř": "cs", "ů": "cs", "ě": "cs",
    "ő": "hu", "ű": "hu", "ț": "ro", "ș": "ro", "ă": "ro", "ơ": "vi", "ư": "vi", "đ": "vi", "õ": "pt", "ģ": "lv", "ķ": "lv", "ļ": "lv",
    "ņ": "lv", "ė": "lt", "ų": "lt", "į": "lt",
}  # fmt: skip
NAMES = {
    "en": "English", "de": "German", "nl": "Dutch", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "ca": "Catalan", "ro": "Romanian", "sv": "Swedish", "da": "Danish", "no": "Norwegian", "fi": "Finnish", "pl": "Polish",
    "cs": "Czech", "hu": "Hungarian", "tr": "Turkish", "vi": "Vietnamese", "id": "Indonesian", "sw": "Swahili", "tl": "Tagalog",
    "hr": "Croatian", "lt": "Lithuanian", "lv": "Latvian", "et": "Estonian",
}  # fmt: skip
LISTS = {code: frozenset(text.replace("'", "").split()) for code, text in FREQUENT.items()}
WEAK = "a am is was in as do to at he us i so had we over just"  # of English: words that many languages have, as others or as the same
OTHERS = frozenset[str]().union(*(words for code, words in LISTS.items() if code != "en"))
SHARED = (LISTS["en"] & OTHERS) | set(WEAK.split())
WORDS = {code: words - SHARED for code, words in LISTS.items()}
SPEAKS_FOR = {
    word: {code for code, words in WORDS.items() if word in words} for word in frozenset[str]().union(*WORDS.values())
}
LEAST_EVIDENCE = 2  # different words, so that one name or one quoted word is none
# When a text is foreign to a recogniser, beside speaking for another language twice as much as for one that is known: shares of its
# different words. Chosen on English sentences with names and quotations and on short ones in 20 other languages (tests/metrics).
SURE, LIKELY, LIKELY_COUNT = 0.6, 0.4, 3
UNKNOWN = 0.2


def evidence(words: Iterable[str]) -> Counter[str]:
    """For each language of the Latin script, how many different words (case-folded, NFC) are frequent in it or have its letters."""
    found: Counter[str] = Counter()
    for word in set(words):
        hit = set(SPEAKS_FOR.get(word, ()))
        if not word.isascii():
            hit.update(LETTERS[letter] for letter in word if letter in LETTERS)
            hit.update(["vi"] if any(map(_is_vietnamese, word)) else [])
        found.update(hit)
    return found


@cache
def _is_vietnamese(letter: str) -> bool:
    """Letters with two marks, or with a dot or a hook that only Vietnamese puts there."""
    name = unicodedata.name(letter, "")
    return name.startswith("LATIN") and (" AND " in name or "HOOK ABOVE" in name or "DOT BELOW" in name)


def languages_of(words: Iterable[str]) -> tuple[str, ...]:
    """The languages that most words of a text in Latin script speak for: one, several that share them, or none where they do not tell.
    English needs one such word, any other language two, and more than English has."""
    found = evidence(words)
    most = max(found.values(), default=0)
    if not most or found["en"] == most:
        return ("en",) if most else ()
    return tuple(sorted(name for name, count in found.items() if count == most)) if most >= LEAST_EVIDENCE else ()


def foreign_to(known: Collection[str], words: Iterable[str], unknown: float | None = None) -> tuple[str, ...]:
    """The languages that a text in Latin script looks like, where they are none of `known`; none where that is not clear.

    Args:
        unknown: share of the words that are not in the recogniser's dictionary; None: it has none.
    """
    different = set(words)
    found = evidence(different)
    own = max((found[code] for code in known), default=0)
    count = max((number for code, number in found.items() if code not in known), default=0)
    if count < LEAST_EVIDENCE or count <= 2 * own:
        return ()
    share = count / len(different)
    clear = share >= SURE or (count >= LIKELY_COUNT and share >= LIKELY)
    accented = sum(not word.isascii() for word in different) / len(different)
    clear = clear or (unknown is None and share > LIKELY) or accented + (unknown or 0) >= UNKNOWN
    return tuple(sorted(code for code, number in found.items() if number == count)) if clear else ()


def speaks_for_others(known: Collection[str], words: Iterable[str]) -> bool:
    """Whether a text has a frequent word of another language and none of those known."""
    found = evidence(words)
    return bool(found) and not any(found[code] for code in known)
