"""What the simple interface and /api/v1 say to people has its Spanish (frontend/text_es.c)."""

import re

import pytest

import trabajos

FOLDER = trabajos.ROOT / "frontend"
STRING = r'"((?:[^"\\]|\\.)*)"'
FILES = [file for file in sorted(FOLDER.glob("*.c")) if re.match(r"(accept|add|all|answer|api.*|auth|discovery|param|schedules|status)\.c", file.name)]


def literal(text):
    """The value of adjacent string literals."""
    return "".join(re.findall(STRING, text)).replace('\\"', '"')


def spanish():
    """Each English sentence of the table, as an expression."""
    table = (FOLDER / "text_es.c").read_text(encoding="utf-8")
    for first in re.findall(r'\{((?:"(?:[^"\\]|\\.)*"\s*)+),', table):
        yield re.compile(".*".join(map(re.escape, literal(first).split("{}"))) + "$")


def said(source):
    """The texts of problems, with a word where one is filled in."""
    source = re.sub(r'" PRI[a-zA-Z0-9]+ "', "lld", source)
    for match in re.finditer(r"\banswer_problem\(([^;]*)\);", source, re.S):
        for text in re.findall(rf"((?:{STRING}\s*)+)", match[1]):
            sentence = re.sub(r"%[-0-9.*]*(?:ll|z|l)?[sducxi]", "x", literal(text[0])).replace("%%", "%")
            if sentence.endswith(".") and " " in sentence:
                yield sentence


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_problem_has_its_spanish(file):
    table = list(spanish())
    assert len(table) > 200
    missing = [text for text in said(file.read_text(encoding="utf-8")) if not any(sentence.match(text) for sentence in table)]
    assert not missing, f"to be added to frontend/text_es.c: {missing}"
