"""The clauses of the demo's sentences: templates in both languages, agreement minded."""

from __future__ import annotations

from collections.abc import Callable

from ffmerge_core.demos.marian_en_fr.values import VOWELS, Both, Values

Clause = Callable[[Values], Both]

_EVENTS: tuple[Both, ...] = (
    ("the meeting", "la réunion"),
    ("the concert", "le concert"),
    ("the exam", "l’examen"),
    ("the exhibition", "l’exposition"),
    ("the match", "le match"),
    ("the lecture", "la conférence"),
    ("the guided tour", "la visite guidée"),
    ("the auction", "la vente aux enchères"),
    ("the ceremony", "la cérémonie"),
    ("the workshop", "l’atelier"),
    ("the rehearsal", "la répétition"),
    ("the race", "la course"),
)
_HAPPENS: tuple[Both, ...] = (
    ("starts", "commence"),
    ("ends", "se termine"),
    ("takes place", "a lieu"),
    ("resumes", "reprend"),
)
_THINGS: tuple[Both, ...] = (
    ("the parcel", "le colis"),
    ("the suitcase", "la valise"),
    ("the machine", "la machine"),
    ("the lamp", "la lampe"),
    ("the bicycle", "le vélo"),
    ("the old painting", "le vieux tableau"),
    ("the telescope", "le télescope"),
    ("the wooden boat", "le bateau en bois"),
    ("the camera", "l’appareil photo"),
    ("the carpet", "le tapis"),
    ("the statue", "la statue"),
    ("the engine", "le moteur"),
)
_MEASURED: tuple[tuple[str, str, str], ...] = (
    ("weighs", "pèse", "mass"),
    ("measures", "mesure", "length"),
    ("contains", "contient", "volume"),
    ("holds", "peut contenir", "volume"),
    ("covers", "couvre", "area"),
    ("consumes", "consomme", "power"),
    ("withstands", "supporte", "pressure"),
)
_PRICED: tuple[Both, ...] = (
    ("costs", "coûte"),
    ("is worth", "vaut"),
    ("brings in", "rapporte"),
)
_VEHICLES: tuple[Both, ...] = (
    ("the train", "le train"),
    ("the bus", "le bus"),
    ("the car", "la voiture"),
    ("the truck", "le camion"),
    ("the tram", "le tramway"),
    ("the motorcycle", "la moto"),
)
TEXTS: tuple[Both, ...] = (
    ("the novel", "le roman"),
    ("the report", "le rapport"),
    ("the film", "le film"),
    ("the song", "la chanson"),
    ("the poem", "le poème"),
    ("the guide", "le guide"),
    ("the dictionary", "le dictionnaire"),
    ("the contract", "le contrat"),
)
_PEOPLE: tuple[Both, ...] = (
    ("she", "elle"),
    ("he", "il"),
    ("the engineer", "l’ingénieur"),
    ("my aunt", "ma tante"),
    ("our neighbour", "notre voisin"),
    ("the doctor", "le médecin"),
)
_COUNTED: tuple[Both, ...] = (
    ("visitors", "visiteurs"),
    ("books", "livres"),
    ("inhabitants", "habitants"),
    ("trees", "arbres"),
    ("soldiers", "soldats"),
    ("words", "mots"),
    ("tickets", "billets"),
    ("kilometers", "kilomètres"),
)
_RISES: tuple[Both, ...] = (
    ("rose by", "a augmenté de"),
    ("fell by", "a baissé de"),
    ("exceeds the forecast by", "dépasse les prévisions de"),
)
_SHARES: tuple[Both, ...] = (
    ("the price", "le prix"),
    ("the population", "la population"),
    ("the temperature", "la température"),
    ("the rent", "le loyer"),
    ("the profit", "le bénéfice"),
    ("the demand", "la demande"),
)


def _happens(values: Values) -> Both:
    event, verb, date, time = (
        values.one_of(_EVENTS),
        values.one_of(_HAPPENS),
        values.date(),
        values.time(),
    )
    return (
        f"{event[0]} {verb[0]} on {date[0]} at {time[0]}",
        f"{event[1]} {verb[1]} le {date[1]} à {time[1]}",
    )


def _lasts(values: Values) -> Both:
    event, time, duration = values.one_of(_EVENTS), values.time(), values.quantity("duration")
    return (
        f"{event[0]} at {time[0]} lasts {duration[0]}",
        f"{event[1]} de {time[1]} dure {duration[1]}",
    )


def _measures(values: Values) -> Both:
    thing, (english, french, kind) = values.one_of(_THINGS), values.one_of(_MEASURED)
    quantity = values.quantity(kind)
    return f"{thing[0]} {english} {quantity[0]}", f"{thing[1]} {french} {quantity[1]}"


def _costs(values: Values) -> Both:
    thing, verb, money = values.one_of(_THINGS), values.one_of(_PRICED), values.money()
    return f"{thing[0]} {verb[0]} {money[0]}", f"{thing[1]} {verb[1]} {money[1]}"


def _travels(values: Values) -> Both:
    vehicle = values.one_of(_VEHICLES)
    distance, duration = values.quantity("length"), values.quantity("duration")
    return (
        f"{vehicle[0]} travels {distance[0]} in {duration[0]}",
        f"{vehicle[1]} parcourt {distance[1]} en {duration[1]}",
    )


def _moves(values: Values) -> Both:
    vehicle, speed, time = values.one_of(_VEHICLES), values.quantity("speed"), values.time()
    return (
        f"at {time[0]} {vehicle[0]} is moving at {speed[0]}",
        f"à {time[1]} {vehicle[1]} roule à {speed[1]}",
    )


def _exists(values: Values) -> Both:
    text, (first, second) = values.one_of(TEXTS), values.languages()
    return (
        f"{text[0]} exists in {first[0]} and in {second[0]}",
        f"{text[1]} existe en {first[1]} et en {second[1]}",
    )


def _speaks(values: Values) -> Both:
    person, (country, language) = values.one_of(_PEOPLE), values.country_and_language()
    article = "l’" if language[1].startswith((*VOWELS, "hébreu")) else "le "
    return (
        f"{person[0]} learned {language[0]} {country.within[0]}",
        f"{person[1]} a appris {article}{language[1]} {country.within[1]}",
    )


def _lives(values: Values) -> Both:
    person, (home, work) = values.one_of(_PEOPLE), values.countries()
    return (
        f"{person[0]} lives {home.within[0]} and works {work.within[0]}",
        f"{person[1]} vit {home.within[1]} et travaille {work.within[1]}",
    )


def _ships(values: Values) -> Both:
    thing, (origin, destination) = values.one_of(_THINGS), values.countries()
    return (
        f"{thing[0]} comes {origin.out_of[0]} and will stay {destination.within[0]}",
        f"{thing[1]} vient {origin.out_of[1]} et restera {destination.within[1]}",
    )


def _labels(values: Values) -> Both:
    origin, destination = values.places()
    return (
        f"origin: {origin[0]}, destination: {destination[0]}",
        f"origine : {origin[1]}, destination : {destination[1]}",
    )


def _counts(values: Values) -> Both:
    counted, number = values.one_of(_COUNTED), values.cardinal()
    return (
        f"the author counted {number[0]} {counted[0]}",
        f"l’auteur a compté {number[1]} {counted[1]}",
    )


def _ranks(values: Values) -> Both:
    person, number = values.one_of(_PEOPLE), values.ordinal()
    return (
        f"{person[0]} reads the {number[0]} page",
        f"{person[1]} lit la {number[1]} page",
    )


def _rises(values: Values) -> Both:
    share, verb, percent = values.one_of(_SHARES), values.one_of(_RISES), values.percent()
    return f"{share[0]} {verb[0]} {percent[0]}", f"{share[1]} {verb[1]} {percent[1]}"


def _stores(values: Values) -> Both:
    text, data, temperature = (
        values.one_of(TEXTS),
        values.quantity("digital"),
        values.quantity("temperature"),
    )
    return (
        f"{text[0]} takes up {data[0]} and the sensor shows {temperature[0]}",
        f"{text[1]} occupe {data[1]} et le capteur indique {temperature[1]}",
    )


CLAUSES: tuple[Clause, ...] = (
    _happens,
    _lasts,
    _measures,
    _costs,
    _travels,
    _moves,
    _exists,
    _speaks,
    _lives,
    _ships,
    _labels,
    _counts,
    _ranks,
    _rises,
    _stores,
)
