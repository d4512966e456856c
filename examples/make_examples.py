"""Writes the example inputs and photos of this folder again, the same bytes every time."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).resolve().parent
COLUMNS = [
    "sku",
    "title",
    "subtitle",
    "price",
    "currency",
    "brand",
    "category",
    "photo",
    "accent",
    "url",
]

# Category -> (brand, accent, (name, subtitle, price) of its lines).
SHELVES: dict[str, tuple[str, str, list[tuple[str, str, float]]]] = {
    "Shoes": (
        "Northwind",
        "#f59e0b",
        [
            ("Trail Runner GTX", "Waterproof, 10 mm drop", 129),
            ("Cloud Slipper", "Recycled felt, one size", 39),
            ("Drift Sandal", "Cork sole, vegan strap", 59),
            ("Summit Boot Mid", "Full-grain leather, resoleable", 219),
            ("Harbor Deck Shoe", "Siped rubber, dries overnight", 84),
        ],
    ),
    "Bags": (
        "Casa Lupo",
        "#22c55e",
        [
            ("Ridge Pack 28L", "Roll-top, laptop sleeve", 149),
            ("Weekender Duffel", "Separate shoe compartment, lifetime repairs", 249.5),
            ("Sling 4", "Fits a camera, a book and a sandwich", 64),
            ("Market Tote", "Organic cotton, carries 18 kg", 29),
            ("Cable Pouch", "Six pockets, no more knots", 24.9),
        ],
    ),
    "Kitchen": (
        "Ember & Oak",
        "#fb7185",
        [
            ("Ember Mug", "Holds 58 °C for 3 hours", 89),
            ("Canyon Bottle", "750 ml, leak-proof", 34),
            ("Cast Skillet 26", "Pre-seasoned, made in Bergen", 74),
            ("Santoku Knife", "17 cm, 63 HRC, walnut handle", 168),
            ("Pour-Over Set", "Borosilicate glass, steel filter", 52),
        ],
    ),
    "Audio": (
        "Halden",
        "#38bdf8",
        [
            ("Studio One Headphones", "40 mm drivers, 45 hours of battery", 279),
            ("Pebble Speaker", "360° sound, floats in water", 79.99),
            ("Tape Deck Mini", "Plays, records, clicks", 119),
            ("Turntable T2", "Belt drive, built-in preamp", 399),
            ("Desk Microphone", "USB-C, zero-latency monitor", 139),
        ],
    ),
    "Outdoor": (
        "Fjordline",
        "#a78bfa",
        [
            ("Fjord Rain Shell", "3-layer, 20k/20k", 219),
            ("Moss Beanie", "Merino, made in Porto", 29),
            ("Halo Headlamp", "450 lm, USB-C", 69),
            ("Two-Person Tent", "1.6 kg, pitches in three minutes", 449),
            ("Camp Chair Zero", "Folds to the size of a bottle", 99.95),
        ],
    ),
    "Home": (
        "Lagom Works",
        "#2dd4bf",
        [
            ("Linen Throw", "Stone-washed, 130 × 170 cm", 95),
            ("Arc Lamp", "Dims to candlelight", 320),
            ("Stoneware Vase", "Each glaze is different", 48),
            ("Wall Clock 24", "Silent sweep, solid ash", 76),
            ("Desk Plant No. 7", "Thrives on neglect", 22),
        ],
    ),
}
EDITIONS = ["", "Pro", "Lite", "Sand", "Midnight", "Kids", "Reserve"]
MONEY = ["USD", "EUR", "GBP", "USD", "CAD", "EUR", "USD"]

# Rows that break lesser cards; every column not named stays empty.
HARD: list[dict[str, str]] = [
    {
        "title": "手作りの波佐見焼マグカップ 藍色グラデーション",
        "brand": "波佐見窯",
        "price": "4200",
        "subtitle": "職人がひとつずつ絵付けした、電子レンジ対応の日常使いの器です。",
        "currency": "JPY",
        "accent": "#38bdf8",
        "photo": "photos/mug.jpg",
    },
    {
        "title": "折りたたみ自転車「風」",
        "subtitle": "9.8kg、駅でもオフィスでも。",
        "price": "128000",
        "currency": "JPY",
        "brand": "カゼ",
    },
    {
        "title": "سماعات لاسلكية بخاصية إلغاء الضوضاء",
        "subtitle": "بطارية تدوم حتى 40 ساعة مع شحن سريع",
        "price": "299",
        "currency": "AED",
        "brand": "صوت",
        "accent": "#a855f7",
        "photo": "photos/headphones.jpg",
        "url": "sawt.example/40h",
    },
    {"title": "مصباح مكتب", "price": "85", "currency": "SAR", "brand": "نور"},
    {
        "title": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
        "subtitle": "A name without a single space",
        "price": "19",
        "currency": "EUR",
    },
    {
        "title": "Handcrafted Full-Grain Leather Weekender Duffel Bag with Separate Shoe Compartment, "  # noqa: E501
        "Detachable Strap, Hidden Passport Pocket and a Brass Name Plate for Two Lines of Engraving",  # noqa: E501
        "subtitle": "Vegetable-tanned in Tuscany, sewn in Porto, repaired for life; the lining is woven "  # noqa: E501
        "from recycled bottles and the brass is cast by a foundry that is older than zips.",
        "price": "1249.5",
        "currency": "EUR",
        "brand": "Casa Lupo",
        "category": "Travel",
        "photo": "photos/duffel.jpg",
        "accent": "#22c55e",
        "url": "casalupo.example/collections/travel/weekender-duffel-bag-brass",
    },
    {
        "title": "🎧 Party Speaker 🎉 Mini",
        "subtitle": "Loud 🔊 but tiny 🐜 loved by 👩🏽‍🚀 and 🇯🇵",
        "price": "59.99",
        "currency": "GBP",
        "brand": "Boom",
        "accent": "#ef4444",
        "photo": "photos/speaker.jpg",
    },
    {"title": "🪴", "subtitle": "A plant. That is all.", "price": "12", "currency": "USD"},
    {
        "title": "Чайник «Самовар» с терморегулятором",
        "subtitle": "Нержавеющая сталь, 1,7 л",
        "price": "5990 ₽",
        "brand": "Тула",
    },
    {
        "title": "Ελαιόλαδο Εξαιρετικό Παρθένο",
        "subtitle": "Ψυχρής έκθλιψης, 500 ml",
        "price": "14.8",
        "currency": "EUR",
        "brand": "Καλαμάτα",
        "accent": "#84cc16",
    },
    {
        "title": 'Mug "50 % off" *today* #1 $5 \\ <b>&amp;</b> {{ title }}',
        "subtitle": "#import, $x^2$, _under_ and `code` are only letters",
        "price": "5",
        "currency": "USD",
        "brand": "O'Neill & Sons",
    },
    {"title": "Q", "price": "1", "currency": "USD"},
    {"title": "Gift Card"},
    {"title": "Service Plan", "subtitle": "Price on request", "price": "ask us", "brand": "Halden"},
    {
        "title": "Grand Piano Concert Edition",
        "price": "148999",
        "currency": "CHF",
        "brand": "Steinberg",
        "subtitle": "Delivered, tuned and played in",
        "accent": "#eab308",
    },
    {"title": "Two-line title\nfrom a cell with a line break", "price": "10", "currency": "EUR"},
    {
        "title": "Crème brûlée torch",
        "subtitle": "Ünïcödé with naïve façade",
        "price": "27.5",
        "currency": "CAD",
        "brand": "Ember & Oak",
        "photo": "photos/torch.jpg",
    },
]

# Photo name -> (shape, ground colors, thing color, width, height).
Rgb = tuple[int, int, int]
PHOTOS: dict[str, tuple[str, Rgb, Rgb, Rgb, int, int]] = {
    "mug": ("mug", (255, 226, 205), (244, 160, 125), (250, 250, 248), 640, 640),
    "bottle": ("bottle", (214, 236, 232), (88, 160, 158), (24, 78, 92), 512, 640),
    "lamp": ("lamp", (252, 239, 214), (226, 170, 92), (60, 52, 60), 640, 640),
    "speaker": ("speaker", (250, 214, 220), (214, 74, 96), (40, 24, 36), 640, 640),
    "headphones": ("headphones", (226, 220, 250), (132, 108, 214), (34, 28, 66), 640, 640),
    "duffel": ("bag", (232, 222, 208), (170, 128, 92), (112, 64, 36), 640, 480),
    "backpack": ("bag", (214, 232, 218), (96, 150, 118), (30, 80, 62), 512, 640),
    "tote": ("bag", (250, 240, 226), (230, 190, 140), (246, 232, 208), 640, 640),
    "vase": ("vase", (226, 232, 240), (130, 150, 178), (200, 96, 74), 512, 640),
    "plant": ("plant", (238, 244, 226), (164, 192, 120), (208, 122, 82), 512, 640),
    "clock": ("clock", (240, 236, 232), (188, 178, 170), (252, 252, 250), 640, 640),
    "tent": ("tent", (196, 222, 248), (70, 112, 190), (244, 148, 48), 640, 480),
    "shell": ("shell", (206, 226, 250), (96, 126, 214), (244, 196, 48), 640, 640),
    "shoe": ("shoe", (255, 236, 206), (248, 172, 76), (232, 72, 58), 640, 640),
    "boot": ("shoe", (236, 226, 216), (164, 134, 108), (92, 60, 40), 640, 640),
    "sandal": ("shoe", (222, 242, 246), (110, 190, 206), (238, 206, 150), 640, 640),
    "beanie": ("shell", (224, 236, 222), (122, 160, 124), (64, 98, 72), 640, 640),
    "skillet": ("skillet", (240, 228, 220), (196, 150, 128), (44, 44, 48), 640, 640),
    "knife": ("knife", (228, 234, 238), (150, 172, 186), (210, 220, 228), 640, 640),
    "turntable": ("turntable", (238, 226, 214), (206, 150, 108), (104, 66, 44), 640, 640),
    "microphone": ("lamp", (222, 226, 236), (112, 124, 160), (38, 44, 64), 512, 640),
    "chair": ("tent", (232, 240, 222), (150, 180, 108), (52, 96, 84), 640, 640),
    "throw": ("throw", (246, 232, 232), (214, 156, 160), (244, 214, 204), 640, 640),
    "torch": ("bottle", (254, 230, 214), (246, 142, 88), (70, 70, 82), 640, 640),
}
ON_SHELF = {
    "Shoes": ["shoe", "throw", "sandal", "boot", "shoe"],
    "Bags": ["backpack", "duffel", "bag", "tote", "duffel"],
    "Kitchen": ["mug", "bottle", "skillet", "knife", "vase"],
    "Audio": ["headphones", "speaker", "turntable", "turntable", "microphone"],
    "Outdoor": ["shell", "beanie", "lamp", "tent", "chair"],
    "Home": ["throw", "lamp", "vase", "clock", "plant"],
}


def products() -> list[dict[str, str]]:
    """Return 200 rows: regular lines, hard rows between them, and one exact duplicate."""
    rows: list[dict[str, str]] = []
    for edition, suffix in enumerate(EDITIONS):
        for category, (brand, accent, lines) in SHELVES.items():
            for line, (name, subtitle, price) in enumerate(lines):
                rows.append(
                    _product(edition, suffix, category, brand, accent, line, name, subtitle, price)
                )
    for number, hard in enumerate(HARD):
        rows.insert(4 + number * 9, dict.fromkeys(COLUMNS, "") | hard)
    rows = rows[:199]
    for number, row in enumerate(rows, 1):
        row["sku"] = f"HR-{number:04d}"
    return [*rows, dict(rows[0])]


def _product(
    edition: int,
    suffix: str,
    category: str,
    brand: str,
    accent: str,
    line: int,
    name: str,
    subtitle: str,
    price: float,
) -> dict[str, str]:
    slug = name.lower().replace(" ", "-").replace(".", "")
    photo = ON_SHELF[category][line]
    missing = (edition * 7 + line * 3) % 11
    return {
        "sku": "",
        "title": f"{name} {suffix}".strip(),
        "subtitle": "" if missing == 9 else subtitle,
        "price": "" if missing == 10 else f"{price * (1 + 0.15 * edition):.2f}",
        "currency": MONEY[edition],
        "brand": brand,
        "category": category,
        "photo": f"photos/{photo}.jpg" if photo in PHOTOS and missing != 8 else "",
        "accent": accent,
        "url": f"{brand.split(maxsplit=1)[0].lower()}.example/{slug}" if missing != 7 else "",
    }


QUOTES = [
    ("The best way out is always through.", "Robert Frost", "A Servant to Servants", "#f59e0b"),
    ("Simplicity is the ultimate sophistication.", "attributed to Leonardo", "", "#38bdf8"),
    ("古池や 蛙飛びこむ 水の音", "松尾芭蕉", "", "#22c55e"),
    ("اطلبوا العلم من المهد إلى اللحد", "مثل عربي", "", "#a78bfa"),
    ("Мысль изреченная есть ложь.", "Фёдор Тютчев", "Silentium!", "#fb7185"),
    (
        "Nothing in life is to be feared, it is only to be understood. Now is the time to understand "  # noqa: E501
        "more, so that we may fear less.",
        "Marie Curie",
        "",
        "#2dd4bf",
    ),
]
EVENTS = [
    (
        "Harbor Lights Festival",
        "Three stages, forty bands",
        "2026-06-12",
        "18:00",
        "Pier 7, Bergen",
        "from €35",
        "#fb7185",
    ),
    (
        "Typography Night",
        "Letterpress, beer, and one argument about kerning",
        "2026-03-05",
        "19:30",
        "Print House, Porto",
        "free",
        "#f59e0b",
    ),
    (
        "東京クラフト市",
        "全国から百二十の作り手",
        "2026-05-02",
        "10:00",
        "代々木公園",
        "入場無料",
        "#22c55e",
    ),
    ("معرض الكتاب", "أكثر من 500 ناشر", "2026-11-01", "09:00", "الشارقة", "", "#38bdf8"),
    ("Annual General Meeting", "", "2026-04-21", "", "", "", "#a78bfa"),
]


def _write(name: str, columns: list[str], rows: list[dict[str, str]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


# ------------------------------------------------------------------ photos

_OVER = 2  # drawn larger, then reduced, for smooth edges


def photo(name: str) -> Image.Image:
    """Return one procedural still life: a thing on a soft ground with light and shadow."""
    shape, light, dark, color, width, height = PHOTOS[name]
    size = (width * _OVER, height * _OVER)
    image = _ground(size, light, dark)
    shadow = Image.new("L", size, 0)
    w, h = size
    ImageDraw.Draw(shadow).ellipse((w * 0.2, h * 0.74, w * 0.86, h * 0.88), fill=120)
    shadow = shadow.filter(ImageFilter.GaussianBlur(w * 0.03))
    image.paste(Image.new("RGB", size, _mix(dark, (0, 0, 0), 0.65)), (0, 0), shadow)
    thing = Image.new("L", size, 0)
    SHAPES[shape](ImageDraw.Draw(thing), w, h)
    image.paste(_lit(size, color), (0, 0), thing)
    details = ImageDraw.Draw(image, "RGBA")
    DETAILS.get(shape, lambda *_: None)(details, w, h, color)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _mix(a: Rgb, b: Rgb, t: float) -> Rgb:
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _ground(size: tuple[int, int], light: Rgb, dark: Rgb) -> Image.Image:
    glow = Image.radial_gradient("L").resize((size[0] * 2, size[1] * 2))
    left, top = round(size[0] * 0.62), round(size[1] * 0.7)
    glow = glow.crop((left, top, left + size[0], top + size[1]))
    image = Image.composite(Image.new("RGB", size, dark), Image.new("RGB", size, light), glow)
    floor = Image.new("L", size, 0)
    ImageDraw.Draw(floor).rectangle((0, size[1] * 0.72, size[0], size[1]), fill=70)
    floor = floor.filter(ImageFilter.GaussianBlur(size[0] * 0.02))
    image.paste(Image.new("RGB", size, _mix(dark, light, 0.25)), (0, 0), floor)
    return image


def _lit(size: tuple[int, int], color: Rgb) -> Image.Image:
    """The thing's color, lighter where the light comes from (upper left)."""
    ramp = Image.linear_gradient("L").rotate(60, resample=Image.Resampling.BICUBIC)
    ramp = ramp.crop((50, 50, 206, 206)).resize(size)
    lit, shade = _mix(color, (255, 255, 255), 0.3), _mix(color, (10, 8, 24), 0.38)
    return Image.composite(Image.new("RGB", size, shade), Image.new("RGB", size, lit), ramp)


def _box(
    w: int, h: int, x0: float, y0: float, x1: float, y1: float
) -> tuple[float, float, float, float]:
    return (w * x0, h * y0, w * x1, h * y1)


def _mug(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.rounded_rectangle(_box(w, h, 0.26, 0.32, 0.64, 0.8), w * 0.06, fill=255)
    d.arc(_box(w, h, 0.52, 0.42, 0.78, 0.68), -100, 100, fill=255, width=round(w * 0.045))


def _bottle(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.rounded_rectangle(_box(w, h, 0.36, 0.34, 0.64, 0.82), w * 0.08, fill=255)
    d.rounded_rectangle(_box(w, h, 0.435, 0.2, 0.565, 0.42), w * 0.03, fill=255)
    d.rounded_rectangle(_box(w, h, 0.42, 0.14, 0.58, 0.22), w * 0.02, fill=255)


def _lamp(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.pieslice(_box(w, h, 0.26, 0.14, 0.74, 0.62), 180, 360, fill=255)
    d.rectangle(_box(w, h, 0.48, 0.37, 0.52, 0.78), fill=255)
    d.ellipse(_box(w, h, 0.34, 0.75, 0.66, 0.83), fill=255)


def _speaker(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.rounded_rectangle(_box(w, h, 0.28, 0.18, 0.72, 0.82), w * 0.1, fill=255)


def _headphones(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.arc(_box(w, h, 0.24, 0.16, 0.76, 0.76), 180, 360, fill=255, width=round(w * 0.05))
    d.rounded_rectangle(_box(w, h, 0.2, 0.42, 0.36, 0.76), w * 0.07, fill=255)
    d.rounded_rectangle(_box(w, h, 0.64, 0.42, 0.8, 0.76), w * 0.07, fill=255)


def _bag(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.rounded_rectangle(_box(w, h, 0.2, 0.4, 0.8, 0.82), w * 0.07, fill=255)
    d.arc(_box(w, h, 0.34, 0.18, 0.66, 0.66), 180, 360, fill=255, width=round(w * 0.035))


def _vase(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.ellipse(_box(w, h, 0.3, 0.42, 0.7, 0.82), fill=255)
    d.rectangle(_box(w, h, 0.44, 0.26, 0.56, 0.5), fill=255)
    d.ellipse(_box(w, h, 0.4, 0.23, 0.6, 0.29), fill=255)


def _plant(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.polygon(
        [(w * 0.34, h * 0.56), (w * 0.66, h * 0.56), (w * 0.6, h * 0.82), (w * 0.4, h * 0.82)],
        fill=255,
    )


def _clock(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.ellipse((w / 2 - w * 0.29, h / 2 - w * 0.29, w / 2 + w * 0.29, h / 2 + w * 0.29), fill=255)


def _tent(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.polygon([(w * 0.5, h * 0.24), (w * 0.86, h * 0.8), (w * 0.14, h * 0.8)], fill=255)


def _shell(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.pieslice(_box(w, h, 0.22, 0.26, 0.78, 1.1), 180, 360, fill=255)
    d.rounded_rectangle(_box(w, h, 0.2, 0.64, 0.8, 0.78), w * 0.05, fill=255)


def _shoe(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.polygon(
        [
            (w * 0.2, h * 0.36),
            (w * 0.36, h * 0.34),
            (w * 0.56, h * 0.54),
            (w * 0.78, h * 0.62),
            (w * 0.84, h * 0.76),
            (w * 0.18, h * 0.76),
        ],
        fill=255,
    )
    d.ellipse(_box(w, h, 0.68, 0.58, 0.88, 0.78), fill=255)


def _skillet(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.ellipse(_box(w, h, 0.16, 0.3, 0.66, 0.8), fill=255)
    d.rounded_rectangle(_box(w, h, 0.6, 0.51, 0.92, 0.59), w * 0.03, fill=255)


def _knife(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    blade = [(0.08, 0.47), (0.14, 0.44), (0.62, 0.42), (0.62, 0.6), (0.3, 0.6), (0.16, 0.55)]
    d.polygon([(w * x, h * y) for x, y in blade], fill=255)


def _handle(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    d.rounded_rectangle(_box(w, h, 0.61, 0.41, 0.92, 0.52), w * 0.02, fill=(104, 62, 40, 255))
    for x in (0.68, 0.77, 0.86):
        d.ellipse((w * x - 9, h * 0.465 - 9, w * x + 9, h * 0.465 + 9), fill=(226, 214, 196, 255))


def _turntable(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.rounded_rectangle(_box(w, h, 0.14, 0.24, 0.86, 0.8), w * 0.03, fill=255)


def _throw(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    for step in range(4):
        d.rounded_rectangle(
            _box(
                w, h, 0.2 + 0.01 * step, 0.36 + 0.11 * step, 0.82 - 0.012 * step, 0.5 + 0.11 * step
            ),
            w * 0.05,
            fill=255,
        )


def _rings(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    for y, radius in ((0.34, 0.1), (0.61, 0.17)):
        for share, ink in (
            (1.0, (255, 255, 255, 38)),
            (0.82, (0, 0, 0, 120)),
            (0.36, (255, 255, 255, 70)),
        ):
            r = w * radius * share
            d.ellipse((w / 2 - r, h * y - r, w / 2 + r, h * y + r), fill=ink)


def _leaves(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    for step in range(9):
        angle = math.radians(-165 + step * 18.5)
        tip = (w * 0.5 + math.cos(angle) * w * 0.34, h * 0.56 + math.sin(angle) * h * 0.38)
        side = (-math.sin(angle) * w * 0.055, math.cos(angle) * w * 0.055)
        middle = ((w * 0.5 + tip[0]) / 2, (h * 0.56 + tip[1]) / 2)
        green = (40 + step * 9, 120 + (step % 3) * 18, 76, 255)
        d.polygon(
            [
                (w * 0.5, h * 0.56),
                (middle[0] + side[0], middle[1] + side[1]),
                tip,
                (middle[0] - side[0], middle[1] - side[1]),
            ],
            fill=green,
        )


def _hands(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    for hour in range(12):
        angle = math.radians(hour * 30)
        inner, outer = (0.22 if hour % 3 else 0.2) * w, 0.25 * w
        d.line(
            [(w / 2 + math.cos(angle) * r, h / 2 + math.sin(angle) * r) for r in (inner, outer)],
            fill=(60, 60, 70, 255),
            width=round(w * 0.009),
        )
    for angle, r in ((-60, 0.14), (20, 0.2)):
        a = math.radians(angle)
        d.line(
            [(w / 2, h / 2), (w / 2 + math.cos(a) * r * w, h / 2 + math.sin(a) * r * w)],
            fill=(40, 40, 50, 255),
            width=round(w * 0.014),
        )


def _door(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    d.polygon(
        [(w * 0.5, h * 0.36), (w * 0.62, h * 0.8), (w * 0.38, h * 0.8)], fill=(20, 20, 40, 150)
    )
    d.line(
        [(w * 0.5, h * 0.24), (w * 0.5, h * 0.8)], fill=(255, 255, 255, 90), width=round(w * 0.006)
    )


def _laces(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    d.rounded_rectangle(_box(w, h, 0.16, 0.73, 0.89, 0.81), w * 0.03, fill=(252, 250, 246, 255))
    for step in range(4):
        x = 0.36 + step * 0.055
        d.line(
            [(w * x, h * (0.4 + step * 0.05)), (w * (x + 0.06), h * (0.36 + step * 0.055))],
            fill=(255, 255, 255, 230),
            width=round(w * 0.012),
        )


def _record(d: ImageDraw.ImageDraw, w: int, h: int, _: Rgb) -> None:
    for r, ink in (
        (0.25, (22, 22, 26, 255)),
        (0.2, (40, 40, 46, 255)),
        (0.195, (24, 24, 28, 255)),
        (0.14, (42, 42, 48, 255)),
        (0.135, (24, 24, 28, 255)),
        (0.08, (232, 96, 72, 255)),
        (0.012, (250, 250, 250, 255)),
    ):
        d.ellipse((w * (0.43 - r), h * 0.52 - w * r, w * (0.43 + r), h * 0.52 + w * r), fill=ink)
    d.line(
        [(w * 0.78, h * 0.32), (w * 0.76, h * 0.56), (w * 0.6, h * 0.64)],
        fill=(235, 235, 238, 255),
        width=round(w * 0.016),
    )


def _seams(d: ImageDraw.ImageDraw, w: int, h: int, color: Rgb) -> None:
    d.line(
        [(w * 0.22, h * 0.54), (w * 0.78, h * 0.54)],
        fill=(255, 255, 255, 80),
        width=round(w * 0.008),
    )
    d.rounded_rectangle(
        _box(w, h, 0.34, 0.59, 0.66, 0.76), w * 0.03, fill=(*_mix(color, (0, 0, 0), 0.25), 150)
    )


SHAPES = {
    "mug": _mug,
    "bottle": _bottle,
    "lamp": _lamp,
    "speaker": _speaker,
    "headphones": _headphones,
    "bag": _bag,
    "vase": _vase,
    "plant": _plant,
    "clock": _clock,
    "tent": _tent,
    "shell": _shell,
    "shoe": _shoe,
    "skillet": _skillet,
    "knife": _knife,
    "turntable": _turntable,
    "throw": _throw,
}
DETAILS = {
    "speaker": _rings,
    "plant": _leaves,
    "clock": _hands,
    "tent": _door,
    "shoe": _laces,
    "turntable": _record,
    "bag": _seams,
    "knife": _handle,
}


def main() -> None:
    """Write the CSV files and the photos."""
    _write("products.csv", COLUMNS, products())
    quote_columns = ["quote", "author", "source", "accent"]
    _write(
        "quotes.csv", quote_columns, [dict(zip(quote_columns, row, strict=True)) for row in QUOTES]
    )
    event_columns = ["title", "subtitle", "date", "time", "venue", "price", "accent"]
    _write(
        "events.csv", event_columns, [dict(zip(event_columns, row, strict=True)) for row in EVENTS]
    )
    (HERE / "photos").mkdir(exist_ok=True)
    for name in PHOTOS:
        photo(name).save(HERE / "photos" / f"{name}.jpg", quality=86)


if __name__ == "__main__":
    main()
