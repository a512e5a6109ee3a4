"""A policy file is read whole or refused by name and place, and is known by its digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderation.policy import Words, load_policy, read_policy, restore_policy
from moderation.words import How, fold
from relay.errors import Misconfigured

HEAD = 'format = 1\nname = "mine"\nversion = "7"\n'
QUIET = '[[rules]]\nid = "quiet"\nkind = "quiet"\nbelow = -50.0\naction = "reject"\n'
WORDS = '[[rules]]\nid = "words"\nkind = "words"\naction = "hold"\n'


def test_our_default_is_a_policy() -> None:
    policy = load_policy()
    assert policy.name.startswith("default/")
    assert {rule.kind for rule in policy.rules} == {
        "quiet", "steady", "clipped", "no_speech", "unclear", "language", "words",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("format = ", "not TOML"),
        ("", "format: Field required"),
        (HEAD.replace("1", "2", 1) + "rules = []", "format: Input should be 1"),
        (HEAD + QUIET.replace('quiet"\nbelow', 'loud"\nbelow'), "rules.0"),
        (HEAD + QUIET.replace("-50.0", "5.0"), "rules.0.quiet.below"),
        (HEAD + QUIET.replace("-50.0", "nan"), "rules.0.quiet.below"),
        (HEAD + QUIET.replace("below", "beneath"), "rules.0.quiet.beneath"),
        (HEAD + QUIET.replace("reject", "ignore"), "rules.0.quiet.action"),
        (HEAD + QUIET + QUIET, "two rules are called quiet"),
        (HEAD + WORDS + 'words = ["？！"]', "word 1 has neither letter nor digit"),
        (HEAD + WORDS + 'files = ["absent.txt"]', "absent.txt"),
        (HEAD + WORDS + 'where = ["mind"]', "rules.0.words.where.0"),
        (HEAD + 'rules = "all"', "rules: Input should be a valid"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured) as wrong:
        load_policy(file)
    assert complaint in str(wrong.value)
    assert str(file) in str(wrong.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.toml"):
        load_policy(tmp_path / "nowhere.toml")


def test_a_complaint_repeats_no_word_of_a_list() -> None:
    with pytest.raises(Misconfigured) as wrong:
        read_policy(HEAD + WORDS + 'words = ["geheim", 5]', Path())
    assert "geheim" not in str(wrong.value)


def test_word_files_are_read_beside_the_policy(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeff# mine\n毒品\n\n赌博 # why\n", encoding="utf-8")
    policy = read_policy(HEAD + WORDS + 'words = ["x1"]\nfiles = ["list.txt"]', tmp_path)
    (rule,) = policy.rules
    assert isinstance(rule, Words)
    assert set(rule.words) == {"x1", "毒品", "赌博"}
    assert policy.lexicon.search(fold("卖毒品")) == {("words", How.EXACT)}


def test_the_digest_covers_the_lists_and_nothing_that_does_not_matter(tmp_path: Path) -> None:
    text = HEAD + WORDS + 'files = ["list.txt"]'
    digests = []
    for words in ("甲\n乙\n", "# comment\n乙\n甲\n", "甲\n乙\n丙\n"):
        (tmp_path / "list.txt").write_text(words, encoding="utf-8")
        digests.append(read_policy(text, tmp_path).digest)
    assert digests[0] == digests[1] != digests[2]
    assert read_policy(text + "\n# a remark", tmp_path).digest == digests[2]


def test_what_is_kept_reads_back_as_the_same_policy() -> None:
    policy = load_policy()
    again = restore_policy(policy.document)
    assert (again.digest, again.rules, again.name) == (policy.digest, policy.rules, policy.name)
