"""The code page of an archive's names, told from short names."""

from __future__ import annotations

import pytest

from audiorestorer.formats.codepages import page_of

NAMES = {
    "cp932": ["新しいフォルダ/ソ.wav 表示.wav", "録音.wav", "会議の音声.mp3", "テスト.wav", "日本語/能力試験.wav",
              "十.wav ソ.wav"],
    "gb18030": ["朗读版.wav 陰謀/二.wav", "录音.wav", "新建文件夹/会议记录.wav", "采访 第一集.mp3",
                "我的录音 2.wav", "张伟.wav 李娜.wav"],
    "big5hkscs": ["錄音.wav 訪問.wav", "新資料夾/會議記錄.wav", "陳小姐的錄音.wav"],
    "cp949": ["녹음.wav", "새 폴더/회의 녹음.wav", "인터뷰.wav", "음성 메모 1.mp3"],
    "cp866": ["Запись.wav", "Новая папка/интервью.wav", "Иван Петров.wav"],
    "cp1251": ["Запись.wav", "Новая папка/интервью.wav"],
    "cp850": ["Größe.wav Übung/ä.wav", "résumé.wav", "Ærø/smørrebrød.wav", "São João.wav", "ä.wav"],
    "cp1252": ["Größe.wav", "Übung/ä.wav", "résumé.wav", "Café Zoë.wav", "niño.wav"],
    "utf-8": ["Größe.wav", "録音.wav", "녹음.wav"],
}  # fmt: skip


@pytest.mark.parametrize(("codec", "text"), [(codec, text) for codec, texts in NAMES.items() for text in texts])
def test_names_come_back(codec, text):
    """By the text, not the page's name: several pages have the same letters."""
    raw = [name.encode(codec) for name in text.split(".wav ")]
    page = page_of(raw)
    assert " | ".join(name.decode(page.codec) for name in raw) == " | ".join(text.split(".wav ")), page.name


@pytest.mark.parametrize(
    "names", [[b"plain.wav"], [b"\xff\xfe\xfd.wav"], [bytes([byte]) + b".wav" for byte in range(128, 256)], []]
)
def test_what_no_page_has_is_still_decoded(names):
    page = page_of(names)
    assert all(name.decode(page.codec) for name in names)
