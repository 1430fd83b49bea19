"""Invented headlines of invented names, in the manner of news sites, day by day.

The demo and the tests use them, so that neither depends on a real site.
"""

import random
from datetime import datetime, timedelta

_VOCABULARY = """
politics: 한빛당 새길당 누리의회 가온시의회 다솜도지사 해오름위원회 도담청 온누리특위
economy: 가람은행 다온증권 미르건설 새론자동차 아람유통 한울중공업 푸름보험 나래항공
society: 가온경찰서 누리소방서 다솜구청 미리내시 솔빛초등학교 해솔병원 윤슬군 나린법원
culture: 달빛극단 여울합창단 은가람미술관 별하영화제 새봄도서관 노을악단 이든출판
world: 아르벨 카루나 도리안연방 셀린공화국 누벨제도 타마르 오스티아 벨로나
it: 온새미소프트 가람반도체 누리로보틱스 미르통신 다온게임즈 하늬배터리 새론클라우드
place: 가온 누리 다솜 라온 미리내 보담 새솔 아라 윤슬 차오름 해솔 한울 도래 은결
matter: 예산안 신공장 수출길 통학로 급행버스 전기요금 청년주택 반도체단지 물류센터 도시철도
matter: 생활체육관 해저터널 관광특구 스마트농장 공공병원 재활용센터 국제공항 야시장 문화회관
matter: 수소충전소 돌봄교실 전통시장 데이터센터 해상풍력 자율주행버스 산불감시망
quality: 새 두번째 대규모 긴급 민관합동 역대최대 하반기 시범 특별 공동 첫 광역 친환경 무상
deed: 추진 확정 재검토 백지화 착공 공개 연기 합의 통과 개편 확대 축소 유치 점검 시동 논란
deed: 무산 본격화 재개 철회 승인 반려
words: 이제_시작일_뿐 주민_뜻_따르겠다 더는_못_미룬다 숫자로_답하겠다 사실과_다르다 끝까지_간다
words: 검토한_바_없다 안전이_먼저 기다린_보람_있다 현장에_답_있다
later_place: 뫼벗 갯뜰 솥골 볏섬 뀀재 쑥돌샘
later_matter: 뗏목공원 쐐기탑 뮬리꽃길 궤도썰매장 꿩마을 왱벌특구 쥣불축제 뷔페거리
"""
# From this day on, this share of the headlines has a place or matter with new letters.
LATER_WORDS_FROM = 4
_LATER_WORDS_SHARE = 0.5
# Captions of the news are in the first font, from this day on in the second: two bundled ones.
SECOND_FONT_FROM = 6
CAPTION_FONTS = ("NotoSansKR-Regular.otf", "NotoSerifKR-Regular.otf")
SECTIONS = ("politics", "economy", "society", "culture", "world", "it")
_MANNERS = (
    "{name}, {place} {quality} {matter} {deed}",
    "{name} '{matter}' {deed}…{number}억원 들인다",
    '{name} "{words}"…{place} {matter} {deed}',
    "{place} {matter} {deed} 놓고 {name}·{other} 맞서",
    "{quality} {matter} {deed}에 {place} 들썩…{name} {words}",
    "{name} {place} {matter} {number}% 늘려…{quality} {deed}",
    "{deed}된 {place} {matter}, {name}의 {quality} 선택은?",
)


def _read_vocabulary() -> dict[str, list[str]]:
    words: dict[str, list[str]] = {}
    for line in _VOCABULARY.strip().splitlines():
        kind, _, listed = line.partition(": ")
        words.setdefault(kind, []).extend(word.replace("_", " ") for word in listed.split())
    return words


_WORDS = _read_vocabulary()


def invented_headline(rng: random.Random, section: str, day: int = 1) -> str:
    """Return a headline of a section, one of some hundred million.

    Args:
        rng: Decides which.
        section: One of ``SECTIONS``.
        day: The day that it appears on, from 1. From ``LATER_WORDS_FROM`` on, half of the headlines
            have words with letters that no earlier day has.
    """
    name, other = rng.sample(_WORDS[section], 2)
    kinds = ("place", "quality", "matter", "deed", "words")
    chosen = {kind: rng.choice(_WORDS[kind]) for kind in kinds}
    number = rng.randrange(2, 990)
    if day >= LATER_WORDS_FROM and rng.random() < _LATER_WORDS_SHARE:
        later = rng.choice(("place", "matter"))
        chosen[later] = rng.choice(_WORDS[f"later_{later}"])
    return rng.choice(_MANNERS).format(name=name, other=other, number=number, **chosen)


def with_another_particle(headline: str) -> str:
    """Return the headline as another publisher has it: one mark or particle changed."""
    for old, new in (("…", " "), (", ", " "), ("에 ", "에도 "), ("·", ", "), ("의 ", " ")):
        if old in headline:
            return headline.replace(old, new, 1)
    return headline + "도"


class News:
    """The news of one day.

    Args:
        day: The day, from 1.
        pages: Pages that a section shows.
        per_page: Articles on each of them.
        new_a_day: The share of a section's articles that are younger than a day.

    Attributes:
        caption_font: The bundled font of the day's captions, by its file's name.
    """

    FIRST_MORNING = datetime(2026, 3, 2, 9, 0)  # in Korea
    PUBLISHERS = {
        "001": "가람일보",
        "015": "누리경제",
        "023": "다솜신문",
        "055": "미르방송",
        "421": "새론통신",
    }

    def __init__(
        self, day: int = 1, pages: int = 20, per_page: int = 36, new_a_day: float = 0.6
    ) -> None:
        self.day = day
        self.per_page = per_page
        self.shown = pages * per_page
        self._a_day = int(self.shown * new_a_day)
        self.caption_font = CAPTION_FONTS[day >= SECOND_FONT_FROM]
        self.now = self.FIRST_MORNING + timedelta(days=day - 1)

    def articles(self, section: str) -> list["Article"]:
        """Return a section's articles, the youngest first."""
        youngest = 100_000 + self.day * self._a_day
        return [Article(self, section, youngest - i) for i in range(self.shown)]

    def first_day(self, number: int) -> int:
        """Return the day on which an article is the first time on the site, from 1."""
        return max(1, -(-(number - 100_000) // max(1, self._a_day)))

    def age(self, number: int) -> timedelta:
        """Return the age of an article."""
        youngest = 100_000 + self.day * self._a_day
        return timedelta(seconds=20 + (youngest - number) * (86_400 // max(1, self._a_day)))


class Article:
    """One article.

    Attributes:
        title: Its headline as the site has it, with labels and marks, before HTML's entities.
        address: Its path, ``/mnews/article/{office}/{article}``.
        publisher: The publisher's name.
        age: The time since it was published.
    """

    def __init__(self, news: News, section: str, number: int) -> None:
        self.age = news.age(number)
        if number % 17 == 0:  # the next section has the same article
            section = SECTIONS[(SECTIONS.index(section) + 1) % len(SECTIONS)]
            number += 1
        same_as = number - 5 if number % 23 == 0 else number
        rng = random.Random(f"{section} {same_as}")
        # The article in two sections has its number plus 1 here: no later day than its.
        headline = invented_headline(rng, section, news.first_day(same_as - 1))
        if same_as != number:
            headline = with_another_particle(headline)
        self.office = random.Random(f"office {section} {number}").choice(list(news.PUBLISHERS))
        self.publisher = news.PUBLISHERS[self.office]
        self.address = f"/mnews/article/{self.office}/{SECTIONS.index(section) + 100}{number:07d}"
        self.title = _as_printed(headline, number)
        self.cluster = number % 9 == 0

    def __repr__(self) -> str:
        return f"Article({self.address}, {self.title})"


def _as_printed(headline: str, number: int) -> str:
    labels = {3: "[단독] {}", 7: "{}(종합)", 11: "<현장> {}", 13: "[영상] {} (2보)", 19: "{}..."}
    for each, label in labels.items():
        if number % each == 0:
            headline = label.format(headline)
            break
    if number % 5 == 0:
        headline = headline.replace('"', "“", 1).replace('"', "”", 1)
    if number % 29 == 0:
        headline += "↑"
    return headline
