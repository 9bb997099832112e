"""Where somebody lives: streets with a number, boxes, flats, and a town with its state or postal code."""

from __future__ import annotations

from typing import Final

import regex

from pipeline.redaction.kinds.shape import ANY_CASE, LINES, Cue, Shape, Sought

_CAP: Final = r"(?:[A-ZÀ-ÖØ-Þ0-9][\w'’.-]{0,30}|(?:de|la|du|des|der|den|von|van|of|the|and|do|da|dos|del|e|y)\b)"
_SUFFIX: Final = (
    r"Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Squares|Sq|Terrace|Ter|Circle|"
    r"Cir|Highway|Hwy|Parkway|Pkwy|Alley|Crescent|Cres|Close|Row|Mews|Trail|Trl|Loop|Plaza|Streets|Turnpike|Tpke|Expressway|"
    r"Walk|Gardens|Grove|Hill|Heights|Manor|Ridge|Route|Rte|Pike|Path|Run|Quay|Bypass|Causeway|Crossing|Xing|Isle|Junction|"
    r"Meadows|Motorway|Passage|Point|Rue|Spur|Station|Stravenue|Summit|Track|Valley|Viaduct|View|Villas?|Vista|Wharf"
)
# Always a street; the others (Hill, Run, View, ...) also end sentences about other things.
_STREET_END: Final = (
    r"straße|strasse|str\.|gasse|allee|platz|weg|damm|ufer|ring|gatan|vägen|gränd|stien|veien|vegen|gata|gate|vej|gade|stræde|allé|"
    r"bakken|laan|straat|plein|gracht|kade|dreef|katu|tie|polku|kuja|utca|út|utja|tér|gatu|braut|stígur|gata|vegur|holt|"
    r"ulica|ulice|cesta|náměstí|třída|gatvė|iela|tänav"
)
_STREET_BEGIN: Final = (
    r"Rua|R\.|Avenida|Av\.|Travessa|Praça|Calle|C/|Carrera|Plaza|Paseo|Camino|Rue|Boulevard|Bd|Chemin|Allée|Impasse|Quai|Via|Viale|"
    r"Piazza|Corso|Vicolo|Ulica|ul\.|ulitsa|Calea|Strada|Str\.|Bulevardul|Rruga|Odos|Jalan|Jl\.|Ruelle|Place de|Cours"
)
_UNIT: Final = r"(?:Apartment|Apt|Suite|Ste|Unit|Flat|Room|Rm|Floor|Fl|Bldg|Building|Lot|Bungalow|Penthouse|No|#)\.?[ ]?#?[ ]?\d+[A-Za-z]?\b"
_TAIL: Final = rf"(?:[ ,]{{1,3}}(?:\n[ \t]*)?{_UNIT})?"
STATES: Final = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC "
    "SD TN TX UT VT VA WA WV WI WY DC PR VI GU AS MP AE AP AA"
).replace(" ", "|")
_STATE_NAMES: Final = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|"
    "Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|"
    "New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|"
    "South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming"
)
# Names of states as the United Nations use them, and short ones in use.
_COUNTRIES: Final = (
    "Afghanistan|Albania|Algeria|Andorra|Angola|Argentina|Armenia|Australia|Austria|Azerbaijan|Bahamas|Bahrain|Bangladesh|Barbados|"
    "Belarus|Belgium|Belize|Benin|Bhutan|Bolivia|Bosnia and Herzegovina|Botswana|Brazil|Brunei|Bulgaria|Burkina Faso|Burundi|"
    "Cambodia|Cameroon|Canada|Cape Verde|Central African Republic|Chile|China|Colombia|Comoros|Costa Rica|Croatia|Cuba|Cyprus|"
    "Czech Republic|Czechia|Denmark|Djibouti|Dominican Republic|Ecuador|Egypt|El Salvador|Equatorial Guinea|Eritrea|Estonia|Eswatini|"
    "Ethiopia|Fiji|Finland|France|Gabon|Gambia|Germany|Ghana|Gibraltar|Greece|Greenland|Grenada|Guatemala|Guinea-Bissau|Guyana|Haiti|Honduras|"
    "Hong Kong|Hungary|Iceland|India|Indonesia|Iran|Iraq|Ireland|Israel|Italy|Ivory Coast|Jamaica|Japan|Kazakhstan|Kenya|Kiribati|Kosovo|Kuwait|"
    "Kyrgyzstan|Laos|Latvia|Lebanon|Lesotho|Liberia|Libya|Liechtenstein|Lithuania|Luxembourg|Madagascar|Malawi|Malaysia|Maldives|"
    "Malta|Mauritania|Mauritius|Mexico|Micronesia|Moldova|Monaco|Mongolia|Montenegro|Morocco|Mozambique|Myanmar|Namibia|Nauru|Nepal|"
    "Netherlands|New Zealand|Nicaragua|Nigeria|North Korea|North Macedonia|Norway|Oman|Pakistan|Palau|Panama|Papua New Guinea|"
    "Paraguay|Peru|Philippines|Poland|Portugal|Puerto Rico|Qatar|Romania|Russia|Rwanda|Saint Lucia|Samoa|San Marino|Saudi Arabia|Scotland|Senegal|"
    "Serbia|Seychelles|Sierra Leone|Singapore|Slovakia|Slovenia|Solomon Islands|Somalia|South Africa|South Korea|South Sudan|Spain|"
    "Sri Lanka|Sudan|Suriname|Sweden|Switzerland|Syria|Taiwan|Tajikistan|Tanzania|Thailand|Timor-Leste|Tonga|Trinidad and Tobago|"
    "Tunisia|Turkmenistan|Tuvalu|Uganda|Ukraine|United Arab Emirates|United Kingdom|United States(?: of America)?|Uruguay|Uzbekistan|"
    "Vanuatu|Vatican City|Venezuela|Vietnam|Yemen|Zambia|Zimbabwe|England|Great Britain|Faroe Islands|Bermuda"
)  # fmt: skip
_LINE: Final = r"[^\S\n]"


def streets() -> Sought:
    """STREET_ADDRESS by its own look and by words around it."""
    zip_code = r"(?:[ ,]{1,3}(?:\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}))?"
    return Sought("STREET_ADDRESS", (
        Shape("number and street",
              rf"(?<![\w.,/-])\d{{1,6}}[A-Za-z]?,?{_LINE}(?:{_CAP}{_LINE}){{1,5}}?(?:{_SUFFIX})\b\.?(?:{_LINE}(?:[NSEW]|NE|NW|SE|SW)\b)?{_TAIL}"
              rf"(?:,{_LINE}?[A-ZÀ-Þ][\w .'-]{{1,30}}?,{_LINE}?(?:{STATES})\b{zip_code})?", 0.7, _is_a_street),
        Shape("street and number", rf"(?<!\w)(?:\d{{1,5}}{_LINE})?(?:[A-ZÀ-ÞŁŚŽČŠ][\w'’.-]{{0,30}}{_LINE}){{0,3}}[A-ZÀ-ÞŁŚŽČŠ]?[\w'’-]{{1,30}}(?:{_STREET_END}){_LINE}\d{{1,5}}[A-Za-z]?\b{_TAIL}", 0.65),
        Shape("kind of street first", rf"(?<!\w)(?:\d{{1,5}},?{_LINE})?(?:{_STREET_BEGIN}){_LINE}(?:{_CAP}[ ,]{{1,2}}){{1,5}}?(?:n[º°o]\.?{_LINE})?\d{{1,5}}[A-Za-z]?\b{_TAIL}", 0.65),
        Shape("box", r"\bP\.?[ ]?O\.?[ ]?Box[ ]?#?\d{1,6}\b|\b(?:PSC|CMR|Unit)[ ]\d{1,5},?[ ]Box[ ]\d{1,5}\b|\b(?:USNS|USS|USCGC|USNV)[ ][A-Z][a-z]+\s+(?:FPO|APO|DPO)\b", 0.8, None, LINES),
        Shape("military", r"\b(?:APO|FPO|DPO)[ ,]{1,2}(?:AA|AE|AP)[ ]\d{5}\b", 0.8),
        Shape("flat", r"\b(?:Apartment|Apt|Suite|Ste|Flat)\.?[ ]#?\d+[A-Za-z]?\b", 0.6),
        Shape("behind a word", rf"\b(?i:address(?:\s+is)?|lives? (?:at|on|in)|living at|ship(?:ped|ping)? to|deliver(?:ed|y)? to|mail(?:ed)? to|located at|residing at|home address|meet(?:ing)? at|sent to)[ :]{{1,3}}(?:\n{_LINE}*)?(?P<v>\d{{1,6}}[A-Za-z]?,?{_LINE}[^\s,]{{1,24}}(?:{_LINE}[^\s,]{{1,24}}){{0,5}}{_TAIL})", 0.6),
        Shape("number, words, number", rf"(?<![\w.,/:-])\d{{1,5}}{_LINE}(?:[A-ZÀ-ÞŁŚŽČŠ][\w'’.-]{{2,30}}{_LINE}){{1,4}}\d{{1,5}}{_TAIL}(?=[ ]*(?:\n|$|,|\.))", 0.5, _is_no_sentence),
        Shape("number, words, flat", rf"(?<![\w.,/:-])\d{{1,6}}{_LINE}(?:[^\s\d,;:!?(){{}}]{{1,30}}{_LINE}){{1,6}}?(?:\d{{1,5}}[.,]?{_LINE})?[,]?(?:\s{{1,3}})?(?:Apt|Suite|Ste|Flat|Apartment|Unit)\.?[ ]\d+", 0.65, None, ANY_CASE),
        Shape("behind the word address", r"\baddress(?:es)?(?: (?:is|to|with|at))?[:]?[ \n]{1,6}(?P<v>\d{1,6}[A-Za-z]?[ ][^\s,;:!?(){}]{1,30}(?:[ ][^\s,;:!?(){}]{1,30}){0,5}[ ]?(?:\n[ ,]*[^\n]{1,30}){0,2}?(?:\n?[ ,]*[A-Z0-9]{2,3}[ \n]+\d{4,6}|(?=[.,?!\n]|$)))", 0.6, None, ANY_CASE),
        Shape("number and street, any case", rf"(?<![\w.,/:-])\d{{1,6}}{_LINE}(?:[a-z][\w'’-]{{2,30}}{_LINE}){{1,3}}(?:street|avenue|road|boulevard|blvd|lane|drive|court|square|terrace|highway|parkway)(?:{_LINE}\d{{1,5}})?\b", 0.55),
        Shape("street of a house", rf"(?<!\w)(?:[A-ZÀ-ÞŁŚŽČŠ][\w'’.-]{{1,30}}{_LINE}){{1,3}}(?:u|ul|utca|str|st)\.{_LINE}\d{{1,5}}\.?", 0.55),
        Shape("town, state and code", rf"(?:[A-Z][a-zA-Z.'-]{{1,30}}{_LINE}?){{1,3}},{_LINE}?(?:{STATES}|{_STATE_NAMES}){_LINE}\d{{5}}(?:-\d{{4}})?\b", 0.7),
        Shape("british code", r"\b(?:GIR 0AA|[A-PR-UWYZ](?:\d{1,2}|[A-HK-Y]\d|[A-HK-Y]\d\d|\d[A-HJKSTUW]|[A-HK-Y]\d[ABEHMNPRVWXY]) \d[ABD-HJLNP-UW-Z]{2})\b", 0.6),
    ))  # fmt: skip


def codes() -> Sought:
    """Postal codes, behind a word for one."""
    return Sought("ZIP_CODE", (
        Shape("behind a word", r"\b(?:\d{5}(?:-\d{4})?|\d{3,4}[ -]?\d{2,3}|\d{4}|[A-Z]\d[A-Z] ?\d[A-Z]\d)\b", 0.6,
              cue=Cue(r"zips?|zip ?codes?|post ?codes?|postal(?: code)?|plz|cp", 30, is_rarer=True)),
        Shape("behind a country", rf"(?<![\w-])(?:{_COUNTRIES})(?: \([A-Z][a-z]+\))?[ ]{{1,2}}(?P<v>\d{{4,6}}(?:-\d{{3,4}})?)(?!\w)", 0.6, None, ANY_CASE),
        Shape("behind a state", rf"\b(?:{STATES})[ ](?P<v>\d{{5}}(?:-\d{{4}})?)\b", 0.6),
    ))  # fmt: skip


def towns() -> Sought:
    """Places that a list or the words around them tell, as LOCATION (what a model finds beside them is its own)."""
    return Sought("LOCATION", (
        Shape("country", rf"(?<![\w.-])(?:{_COUNTRIES})(?![\w-])", 0.6),
        Shape("town and state", rf"(?<!\w)(?:[A-Z][a-z.'-]{{2,30}}{_LINE}?){{1,3}},{_LINE}?(?:{_STATE_NAMES}|(?:{STATES})(?![\w'])){_LINE}?(?=[\s,.;)]|$)", 0.6, _is_no_title),
    ))  # fmt: skip


def _is_a_street(text: str, start: int, end: int) -> bool:
    """Not `2 Pi Way`-like parts of formulas, and not `5 Things You ... Run`."""
    value = text[start:end]
    words = regex.findall(r"[^\W\d_]+", value)
    return len(words) >= 2 and not regex.search(
        r"\b(?:The|And|You|How|What|Ways?|Steps?|Things)\b(?! (?:Street|St|Avenue|Ave|Road|Rd|Drive|Lane))", value
    )


def _is_no_sentence(text: str, start: int, end: int) -> bool:
    words = regex.findall(r"[^\W\d_]+", text[start:end])
    return not any(w in _MONTHS_AND_UNITS for w in words)


def _is_no_title(text: str, start: int, end: int) -> bool:
    return text[start:end].count(",") == 1


_MONTHS_AND_UNITS: Final = frozenset(
    "January February March April May June July August September October November December Jan Feb Mar Apr Jun Jul Aug Sep Oct Nov Dec "
    "Chapter Figure Table Section Step Page Part Volume Version Level Day Week Year Season Episode Number Round Phase".split()
)
