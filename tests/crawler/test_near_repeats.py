import random

import pytest

from hanline_crawler.near_repeats import index_keys, likeness, outline
from news_site.news import SECTIONS, invented_headline

PAIRS = [
    ("새론자동차, 새솔 급행버스 추진", "새론자동차 새솔 급행버스 추진"),  # a mark
    ("가람은행 '청년주택' 확대…87억원 들인다", "가람은행 ‘청년주택’ 확대··· 87억원 들인다"),
    ("해솔병원이 공공병원 착공을 다시 연기", "해솔병원은 공공병원 착공을 다시 연기"),  # a particle
    ("미리내시에서는 돌봄교실 두 곳 더 연다", "미리내시에선 돌봄교실 두 곳 더 연다"),
    ("다솜 야시장 재개 놓고 나린법원·윤슬군 맞서", "다솜 야시장 재개 놓고 나린법원, 윤슬군 맞서"),
    ("누리 로보틱스 데이터센터 유치", "누리로보틱스 데이터센터 유치"),  # a space
    ("한빛당 예산안 1,200억원 통과", "한빛당 예산안 1200억원 통과"),
]
STRANGERS = [
    ("코스피 2,600선 마감", "코스피 2,700선 마감"),  # other numbers
    ("가온 해저터널 착공", "가온 해저터널 무산"),
    ("달빛극단 새 작품 공개", "여울합창단 첫 공연 연기"),
]


def found_by_index(a, b):
    stored, sought = index_keys([outline(a), outline(b)])
    return bool(set(stored.stored) & set(sought.sought))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_a_changed_particle_or_mark_is_a_near_repeat(a, b):
    assert likeness(outline(a), outline(b), 90)
    assert found_by_index(a, b) and found_by_index(b, a)


@pytest.mark.parametrize(("a", "b"), STRANGERS)
def test_other_news_is_none(a, b):
    assert not likeness(outline(a), outline(b), 90)


def test_every_pair_with_one_change_is_found_and_most_with_two():
    rng = random.Random(1)
    particles = "은는이가을를도만의에"
    found = {1: [], 2: []}
    for _ in range(400):
        headline = invented_headline(rng, rng.choice(SECTIONS))
        for changes, results in found.items():
            changed = headline
            for _ in range(changes):
                i = rng.choice([i for i, c in enumerate(changed) if "가" <= c <= "힣"])
                changed = changed[:i] + rng.choice(particles) + changed[i + rng.randrange(2) :]
            if likeness(outline(headline), outline(changed), 90):
                results.append(found_by_index(headline, changed))
    assert len(found[1]) > 250 and all(found[1])
    assert len(found[2]) > 200 and sum(found[2]) / len(found[2]) > 0.9


def test_keys_never_change():
    # They are in the users' stores.
    (keys,) = index_keys([outline("가람전자, 신공장 3곳 착공")])
    assert keys.stored == (
        -1206579984230478939,
        -2692860809569186596,
        5852441586012096281,
        1765934075538157227,
        2767475314044313298,
        -4758455880970432125,
    )
    assert set(keys.stored) <= set(keys.sought)
