import pickle
import shutil
from collections import Counter

import pytest
from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont, newTable
from fontTools.ttLib.tables.ttProgram import Program

from hanline.errors import HanlineError
from hanline.synthesis.fonts import Font, FontSet, bundled_files, find_fonts, places


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A folder that stands for all those of the system."""
    folder = tmp_path / "system"
    folder.mkdir()
    monkeypatch.setattr(places, "system_folders", lambda: [folder])
    return folder


def subset_of(font, text, path):
    options = subset.Options(glyph_names=False)
    with TTFont(font.path) as source:
        subsetter = subset.Subsetter(options)
        subsetter.populate(text=text)
        subsetter.subset(source)
        source.save(path)
    return path


class TestCharacters:
    @pytest.mark.parametrize("outlines", ["glyf", "CFF"])
    def test_only_glyphs_of_their_own_with_ink_count(self, make_font, outlines):
        syllables = "".join(chr(0xAC00 + i) for i in range(40))
        path = make_font(
            "a.ttf", "AB", blank=" C\u3000", missing="D𠀀", shared=syllables, outlines=outlines
        )
        assert Font(path).characters == set("AB \u3000")

    @pytest.mark.parametrize("outlines", ["glyf", "CFF"])
    def test_two_characters_may_share_a_glyph(self, make_font, outlines):
        assert Font(make_font("a.ttf", "A", shared="·ㆍ", outlines=outlines)).can_draw("A·ㆍ")

    def test_short_outlines_of_a_real_font_have_ink(self, noto, korean):
        # In a CFF font they are a call of a subroutine, as short as an empty outline.
        for font in noto:
            assert font.can_draw("ABCEHIKMNPTUX.,-'가힣漢①…")
            assert len(font.characters & set(korean)) > 0.99 * len(korean)

    def test_a_font_without_outlines_draws_nothing(self, make_font):
        path = make_font("a.ttf", "A")
        with TTFont(path) as font:
            del font["glyf"], font["loca"]
            font.save(path)
        assert Font(path).characters == set()


class TestFont:
    def test_pickles_small_however_much_was_read(self, sans):
        assert sans.characters
        pickled = pickle.dumps(sans)
        assert len(pickled) < 1000
        assert pickle.loads(pickled) == sans

    def test_loads_a_file_once_per_size(self, sans):
        assert sans.load(24) is Font(sans.path).load(24)
        assert sans.load(24).size == 24
        assert sans.load(25).size == 25

    def test_digest_is_of_content_and_face(self, sans, noto, tmp_path):
        copy = Font(shutil.copy(sans.path, tmp_path / "other name.otf"))
        assert copy.digest() == sans.digest()
        assert len({sans.digest(), noto[1].digest(), Font(sans.path, 1).digest()}) == 3

    def test_a_file_that_has_gone_is_named(self, tmp_path):
        with pytest.raises(HanlineError, match=r"gone\.ttf"):
            Font(tmp_path / "gone.ttf").load(20)


class TestFontSet:
    @pytest.fixture
    def two(self, make_font):
        return FontSet([Font(make_font("b.ttf", "BCD")), Font(make_font("a.ttf", "AB"))])

    @pytest.mark.parametrize(
        ("text", "able"),
        [("A", ["a.ttf"]), ("B", ["a.ttf", "b.ttf"]), ("BCD", ["b.ttf"]), ("AC", []), ("Z", [])],
    )
    def test_able_fonts_draw_the_whole_text(self, two, text, able):
        assert [font.name for font in two.covering(text)] == able
        assert two.can_draw(text) == bool(able)

    def test_is_a_sequence_in_the_order_of_names(self, two):
        assert [font.name for font in two] == ["a.ttf", "b.ttf"]
        assert [font.name for font in two[1:]] == ["b.ttf"]
        assert len(two) == 2


class TestFindFonts:
    def test_bundled_fonts_draw_korean(self, korean):
        found = find_fonts("bundled", korean, 0.99)
        assert {"NotoSansKR-Regular.otf", "NotoSerifKR-Regular.otf"} <= {f.name for f in found}

    def test_system_fonts_are_taken_by_coverage(self, system, make_font):
        make_font("system/deep/er/half.ttf", "AB")
        make_font("system/all.OTF", "ABCD")
        (system / "readme.txt").write_text("no font")
        assert [f.name for f in find_fonts("system", "ABCD", 1)] == ["all.OTF"]
        assert [f.name for f in find_fonts("system", "ABCD", 0.5)] == ["all.OTF", "half.ttf"]

    def test_auto_prefers_the_system(self, system, make_font):
        make_font("system/korean.ttf", "가나")
        assert [f.name for f in find_fonts("auto", "가나", 1)] == ["korean.ttf"]

    def test_auto_falls_back_on_the_bundled(self, system, make_font, caplog):
        caplog.set_level("INFO")
        make_font("system/latin.ttf", "AB")
        found = {f.name for f in find_fonts("auto", "가나", 1)}
        assert "NotoSansKR-Regular.otf" in found
        assert "latin.ttf" not in found
        assert "no system font has enough characters" in caplog.text

    def test_a_named_file_is_taken_whatever_it_has(self, make_font):
        make_font("folder/latin.ttf", "AB")
        named = make_font("named.ttf", "AB")
        found = find_fonts([str(named), str(named.parent / "folder"), str(named)], "가", 0.5)
        assert [f.path for f in found] == [named]
        assert [f.path for f in find_fonts(str(named), "가", 0.5)] == [named]

    def test_a_font_of_the_system_may_be_named_by_its_file(self, system, make_font):
        named = make_font("system/deep/er/latin.ttf", "AB")
        make_font("system/other.ttf", "가")
        (system / "latin.ttf").mkdir()
        assert [f.path for f in find_fonts("latin.ttf", "가", 0.5)] == [named]
        assert [f.path for f in find_fonts("LATIN.TTF", "가", 0.5)] == [named]
        with pytest.raises(HanlineError, match="absent"):
            find_fonts("absent.ttf", "가", 0.5)

    def test_a_link_is_no_second_font(self, system, make_font):
        (system / "z.ttf").symlink_to(make_font("system/a.ttf", "A"))
        assert [f.name for f in find_fonts("system", "A", 1)] == ["a.ttf"]

    def test_of_regional_faces_the_korean_is_taken(self, make_font):
        families = ["Sans CJK JP", "Sans CJK KR", "Sans CJK SC", "Batang"]
        collection = TTCollection()
        for i, family in enumerate(families):
            collection.fonts.append(TTFont(make_font(f"{i}.ttf", "A가", family=family)))
        path = collection.fonts[0].reader.file.name.replace("0.ttf", "cjk.ttc")
        collection.save(path)
        found = find_fonts([path], "가", 1)
        assert [(f.index, f.name) for f in found] == [(1, "cjk.ttc#1"), (3, "cjk.ttc#3")]
        assert found[1].load(20).getname()[0] == "Batang"
        assert found[1].can_draw("A가")

    def test_each_of_a_list_has_the_same_share(self, make_font):
        many = [make_font(f"folder/{name}.ttf", "AB") for name in "pqrs"]
        mine = make_font("mine.ttf", "A")
        found = find_fonts([str(many[0].parent), str(mine)], "AB", 0.5)
        assert [len(group) for group in found.groups] == [4, 1]
        chosen = Counter(found.choose("A", number).path for number in range(800))
        assert chosen == {mine: 400} | dict.fromkeys(many, 100)
        # What a group cannot draw is drawn by the others.
        chosen = Counter(found.choose("B", number).path for number in range(800))
        assert chosen == dict.fromkeys(many, 200)
        assert found.choose("C", 1) is None

    def test_a_named_file_is_taken_wherever_it_stands_in_the_list(self, make_font):
        mine = make_font("folder/mine.ttf", "A")
        other = make_font("folder/other.ttf", "AB")
        found = find_fonts([str(mine.parent), str(mine)], "AB", 0.9, ["mine*"])
        assert [[font.path for font in group] for group in found.groups] == [[other], [mine]]

    def test_a_list_may_name_the_bundled_ones(self, make_font):
        mine = make_font("mine.ttf", "가")
        found = find_fonts([str(mine), "bundled"], "가", 0.9)
        assert found.groups[0][0].path == mine
        assert {font.path for font in found.groups[1]} <= set(bundled_files())

    @pytest.mark.parametrize("kept", [0.0, 0.2, 0.9])
    def test_a_damaged_file_is_named_and_left_out(self, system, sans, kept, caplog):
        shutil.copy(sans.path, system / "whole.otf")
        content = sans.path.read_bytes()
        (system / "broken.otf").write_bytes(content[: int(kept * len(content))])
        assert [f.name for f in find_fonts("system", "가", 1)] == ["whole.otf"]
        assert str(system / "broken.otf") in caplog.text
        assert "whole.otf" not in caplog.text

    def test_a_file_that_is_read_but_not_drawn_is_damaged(self, make_font, caplog):
        whole, broken = make_font("whole.ttf", "A"), make_font("broken.ttf", "A")
        with TTFont(broken) as font:
            # Hints that call a function which there is not.
            font["fpgm"] = newTable("fpgm")
            font["fpgm"].program = Program()
            font["fpgm"].program.fromBytecode([0x2B])
            font.save(broken)
        assert Font(broken).can_draw("A")
        assert [f.path for f in find_fonts([str(broken), str(whole)], "A", 1)] == [whole]
        assert str(broken) in caplog.text

    def test_none_found_says_what_was_looked_for_and_where(self, system, make_font):
        make_font("system/latin.ttf", "가B")
        with pytest.raises(HanlineError) as error:
            find_fonts("system", "가나다라", 0.9)
        for part in (str(system), "90%", "4 characters", "latin.ttf", "25.0%", "bundled"):
            assert part in str(error.value)

    def test_a_place_that_does_not_exist_is_named(self):
        with pytest.raises(HanlineError, match="no-such-place"):
            find_fonts(["no-such-place"], "가", 0.9)

    def test_coverage_is_a_share(self):
        with pytest.raises(HanlineError, match="min_font_coverage"):
            find_fonts("bundled", "가", 90)


def test_a_subset_draws_what_is_left_in_it(sans, tmp_path):
    font = Font(subset_of(sans, "가나", tmp_path / "subset.otf"))
    assert font.can_draw("가나")
    assert not font.can_draw("다")


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_system_folders_exist(monkeypatch, tmp_path, platform):
    own_folders = {
        "linux": ".local/share/fonts",
        "darwin": "Library/Fonts",
        "win32": "AppData/Local/Microsoft/Windows/Fonts",
    }
    monkeypatch.setattr(places.sys, "platform", platform)
    monkeypatch.setattr(places.Path, "home", lambda: tmp_path)
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    own = tmp_path / own_folders[platform]
    assert own not in places.system_folders()
    own.mkdir(parents=True)
    assert own in places.system_folders()
    assert all(folder.is_dir() for folder in places.system_folders())
