"""What the sentences are filled with: numbers, dates, times and names, in both languages.

Names, formats and plurals are those of the Unicode CLDR, through Babel; numbers in words
are num2words'. Every value belongs to one split, by a hash of the value itself: a number, a
date, a time or a pair of names that is in one split's sentences is in no other's.
"""

from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal, TypeVar

from babel import Locale
from babel.dates import format_date, format_time
from babel.numbers import format_currency, format_percent
from babel.units import format_unit
from num2words import num2words  # type: ignore[import-untyped]

from ffmerge_core.tasks.batch import Split

TRAIN_SHARE, VALIDATION_SHARE = 0.90, 0.05
Both = tuple[str, str]  # English, French
Value = TypeVar("Value")
First = TypeVar("First")
Second = TypeVar("Second")

# CLDR's names of units, by kind.
_UNITS = {
    "length": "kilometer meter centimeter millimeter mile yard foot inch nautical-mile micrometer "
    "furlong fathom",
    "mass": "ton kilogram gram milligram pound ounce carat stone",
    "volume": "liter hectoliter centiliter milliliter cubic-meter gallon pint quart barrel "
    "tablespoon teaspoon cubic-centimeter",
    "speed": "kilometer-per-hour meter-per-second mile-per-hour knot",
    "duration": "century decade year month week day hour minute second millisecond",
    "area": "square-kilometer hectare square-meter square-mile acre square-foot",
    "power": "watt kilowatt megawatt horsepower milliwatt",
    "digital": "byte kilobyte megabyte gigabyte terabyte kilobit megabit",
    "temperature": "celsius fahrenheit kelvin",
    "pressure": "hectopascal pascal bar millibar atmosphere",
}
_CURRENCIES = (
    "EUR USD GBP CHF JPY CAD AUD NZD CNY INR BRL MXN ARS CLP COP PEN ZAR EGP MAD TND DZD XOF KES "
    "NGN GHS ETB TRY ILS SAR AED QAR KWD JOD IRR PKR BDT LKR THB VND IDR MYR SGD PHP KRW HKD TWD "
    "RUB UAH PLN CZK HUF RON BGN RSD SEK NOK DKK ISK GEL AMD KZT"
)
# CLDR tells no gender of countries; these are how French says "in" before their names.
_IN = {
    "en": "FR DE IT ES BE CH PL SE NO FI RU CN IN AU NZ TR GR EG AR CO TH ZA TN DZ HU RO BG SK SI "
    "IE IS EE LV LT UA GE AM JO SA MY ID IR IQ ET TZ AT HR RS AL BO MR NA ZM SY MN LY CZ KR CI",
    "au": "JP BR CA MX PE CL PT DK LU MA SN ML NE TD CM KE VN LA KH NP PK BD KW QA YE LB VE PY SV "
    "GT HN NI BJ TG GH NG GA RW BI MZ ZW SD LK KZ TJ TM BT PA CR BW MW LS",
    "aux": "US PH NL AE MV SC BS",
    "à": "CU MT CY MG SG MC DJ TW BH",
}
_CONTRACTED = {"au": "du", "aux": "des", "à": "de"}
VOWELS = "aeéèêiîïoôuâàAEÉÈÊIÎÏOÔUÂÀ"


def split_of(value: str) -> Split:
    """The split of a value, by the SHA-256 of its text: about 90/5/5 %."""
    share = int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], "big") / 2**64
    if share < TRAIN_SHARE:
        return "train"
    return "validation" if share < TRAIN_SHARE + VALIDATION_SHARE else "test"


@dataclass(frozen=True)
class Country:
    """A country with the French word that says "in" before its name."""

    names: Both
    preposition: str

    @property
    def within(self) -> Both:
        """In it: "in Japan", "au Japon"."""
        return f"in {self.names[0]}", f"{self.preposition} {self.names[1]}"

    @property
    def out_of(self) -> Both:
        """From it: "from Japan", "du Japon"."""
        english, french = self.names
        if self.preposition in _CONTRACTED:
            return f"from {english}", f"{_CONTRACTED[self.preposition]} {french}"
        return f"from {english}", f"d’{french}" if french[0] in VOWELS else f"de {french}"


@dataclass(frozen=True)
class Names:
    """CLDR's names in both languages; currencies by code."""

    places: tuple[Both, ...]
    languages: tuple[Both, ...]
    countries: tuple[Country, ...]
    currencies: tuple[str, ...]


@cache
def names() -> Names:
    """Names that both languages have, told apart from codes by having a lower-case letter."""
    english, french = Locale("en"), Locale("fr")
    prepositions = {code: word for word, codes in _IN.items() for code in codes.split()}
    return Names(
        places=_shared(english.territories, french.territories, lambda code: code.isalpha()),
        languages=_shared(english.languages, french.languages, lambda code: len(code) == 2),
        countries=tuple(
            Country(
                (_with_article(english.territories[code], word), french.territories[code]), word
            )
            for code, word in sorted(prepositions.items())
        ),
        currencies=tuple(_CURRENCIES.split()),
    )


def _with_article(english: str, preposition: str) -> str:
    """Countries that are plural in French take an article in English."""
    return f"the {english}" if preposition == "aux" else english


def _shared(
    english: Mapping[str, str], french: Mapping[str, str], wanted: Callable[[str], bool]
) -> tuple[Both, ...]:
    codes = sorted(code for code in english if code in french and wanted(code))
    return tuple((english[code], french[code]) for code in codes)


def _both(said: Callable[[str], str]) -> Both:
    """In English and in French, with plain spaces for CLDR's no-break ones."""
    return _plain(said("en")), _plain(said("fr"))


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


class Values:
    """Draws values of one split.

    keys: the text of every value drawn so far, as its split was told from.
    """

    def __init__(self, split: Split, seed: str) -> None:
        self.split = split
        self.keys: list[str] = []
        self._random = random.Random(seed)

    def one_of(self, options: tuple[Value, ...]) -> Value:
        return options[self._random.randrange(len(options))]

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def number(self, most: int, decimals: int = 0) -> Decimal:
        """At least 2; small and large ones alike, since the number of digits is drawn first."""

        def draw() -> Decimal:
            below = min(most, 10 ** self._random.randint(1, len(str(most))))
            scale = 10**decimals
            drawn: int = self._random.randrange(2 * scale, below * scale + 1)
            return Decimal(drawn) / Decimal(scale)

        return self._own("number", draw)

    def date(self) -> Both:
        start = datetime.date(1900, 1, 1)
        day = self._own("date", lambda: start + datetime.timedelta(self._random.randrange(73_000)))
        form = self.one_of(("full", "long", "long", "medium"))
        return _both(lambda locale: format_date(day, form, locale))

    def time(self) -> Both:
        def draw() -> datetime.time:
            return datetime.time(self._random.randrange(24), self._random.randrange(60))

        drawn = self._own("time", draw)
        return _both(lambda locale: format_time(drawn, "short", locale=locale))

    def quantity(self, kind: str) -> Both:
        unit = self.one_of(tuple(_UNITS[kind].split()))
        number = self.number(9_999) if self.chance(0.5) else self.number(999, decimals=1)
        length: Literal["short", "long"] = "short" if self.chance(0.15) else "long"
        return _both(lambda locale: format_unit(number, f"{kind}-{unit}", length, locale=locale))

    def money(self) -> Both:
        currency = self.one_of(names().currencies)
        number = self.number(9_999_999) if self.chance(0.5) else self.number(9_999, decimals=2)
        form: Literal["standard", "name"] = "standard" if self.chance(0.25) else "name"
        return _both(
            lambda locale: format_currency(number, currency, locale=locale, format_type=form)
        )

    def percent(self) -> Both:
        number = self.number(99, decimals=1)
        return _both(lambda locale: format_percent(number / 100, "#,##0.0 %", locale=locale))

    def cardinal(self) -> Both:
        number = int(self.number(999_999))
        return _both(lambda locale: num2words(number, lang=locale))

    def ordinal(self) -> Both:
        number = int(self.number(9_999))
        return _both(lambda locale: num2words(number, to="ordinal", lang=locale))

    def places(self) -> tuple[Both, Both]:
        return self._pair(names().places, names().places)

    def languages(self) -> tuple[Both, Both]:
        return self._pair(names().languages, names().languages)

    def countries(self) -> tuple[Country, Country]:
        return self._pair(names().countries, names().countries)

    def country_and_language(self) -> tuple[Country, Both]:
        return self._pair(names().countries, names().languages)

    def _pair(self, firsts: tuple[First, ...], seconds: tuple[Second, ...]) -> tuple[First, Second]:
        return self._own(
            "names",
            lambda: (self.one_of(firsts), self.one_of(seconds)),
            lambda pair: " and ".join(sorted(_english(name) for name in pair)),
        )

    def _own(
        self, kind: str, draw: Callable[[], Value], text: Callable[[Value], str] = str
    ) -> Value:
        """Draw until the value is of this split."""
        while True:
            value = draw()
            key = f"{kind} {text(value)}"
            if split_of(key) == self.split:
                self.keys.append(key)
                return value


def _english(name: object) -> str:
    if isinstance(name, Country):
        return name.names[0].removeprefix("the ")
    assert isinstance(name, tuple)
    return str(name[0])
