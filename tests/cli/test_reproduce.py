"""``counterpoise reproduce`` as a user calls it."""

from __future__ import annotations


def test_without_a_table_all_are_listed(cli):
    result = cli("reproduce")
    assert result.code == 0
    for name in ("thesis-1.1", "thesis-7.1", "thesis-7.5", "poster-1", "lecture-transfer", "slides-accuracy"):
        assert name in result.out


def test_bad_input_is_one_line(cli, tmp_path):
    for arguments, words in (
        (("thesis-7.9",), "thesis-7.9"),
        (("thesis-7.4", "--data-dir", tmp_path), "train_32x32.mat"),
        (("slides-accuracy",), "counterpoise enhance"),
        (("thesis-7.4", "--jobs", "0"), "--jobs 0"),
    ):
        result = cli("reproduce", *map(str, arguments), "--out", str(tmp_path / "out"))
        assert result.code == 2
        assert words in " ".join(result.complaints)
        assert not (tmp_path / "out").exists()
