"""BLEU's tokenizer follows the target language, and the score is sacrebleu's own by it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
import sacrebleu
from huggingface_hub import metadata_load
from transformers import AutoTokenizer

import ffmerge_core as fm
from ffmerge_core.errors import DataError, MissingPackageError, PlanError
from ffmerge_core.plan import BLEU_TOKENIZERS
from ffmerge_core.tasks import bleu
from ffmerge_core.tasks.bleu import Told, choose, language_of, script_of
from tests.real_files import opus
from tests.tasks.test_translation import pairs_task

ENGLISH = ["The weather is fine today.", "She is reading a book.", "I'm a student, and you?"]
CHINESE = ["今天天气很好。", "她正在读一本关于NASA的书。", "我是学生,你呢?", "去车站怎么走"]
JAPANESE = [
    "今日は天気がいいです。",
    "彼女は本を読んでいます。",
    "駅へはどう行きますか",
    "コーヒーをください",
]
KOREAN = ["오늘은 날씨가 좋습니다.", "그녀는 책을 읽고 있습니다.", "저는 학생입니다."]
THAI = ["วันนี้อากาศดีมาก", "เธอกำลังอ่านหนังสือ", "ฉันเป็นนักเรียน"]
TEXTS = {"en": ENGLISH, "zh": CHINESE, "ja": JAPANESE, "ko": KOREAN, "th": THAI}
SPLITS = ("train", "validation", "test")


def paired(references: Sequence[str], source: str = "x") -> list[tuple[str, str]]:
    return [(source, reference) for reference in references]


def worse(sentences: Sequence[str]) -> list[str]:
    """The same with two characters exchanged in every second one."""
    swapped = (each[1] + each[0] + each[2:] for each in sentences)
    return [
        new if at % 2 else old for at, (old, new) in enumerate(zip(sentences, swapped, strict=True))
    ]


def theirs(name: str, said: Sequence[str], references: Sequence[str]) -> float:
    metric = sacrebleu.BLEU(tokenize=name)
    return float(metric.corpus_score(list(said), [list(references)]).score)


@pytest.mark.parametrize("language", TEXTS)
def test_a_translation_that_is_its_reference_scores_100(language: str) -> None:
    references = TEXTS[language] * 3
    choice = choose(None, None, paired(references))
    measures, notes = bleu.scores(references, references, choice)
    score = measures[0].figure.value
    assert score == theirs(choice.name, references, references)
    assert f"tok:{choice.name}" in notes["BLEU"]
    assert notes["BLEU's tokenizer"].startswith(f"{choice.name}, by the references' script")
    if language == "th":
        # As sacrebleu has it by default; the score says what to choose.
        assert "no spaces between words: choose char or flores200" in notes["BLEU's tokenizer"]
    else:
        assert score == pytest.approx(100)


@pytest.mark.parametrize("language", ["en", "zh", "ja", "ko", "th"])
def test_the_library_chooses_the_same_for_a_language(language: str) -> None:
    choice = choose(None, Told(language, "the task"), paired(ENGLISH))
    if BLEU_TOKENIZERS[choice.name].language in (language, None) and choice.name != "char":
        both = sacrebleu.BLEU(trg_lang=language), sacrebleu.BLEU(tokenize=choice.name)
        assert both[0].tokenizer_signature == both[1].tokenizer_signature
    else:
        # What it would choose is not installed; it can only refuse, and the score says so.
        with pytest.raises(RuntimeError, match="extra dependencies"):
            sacrebleu.BLEU(trg_lang=language)
        assert (
            f'{language}-mecab is not installed: pip install "sacrebleu[{language}]"' in choice.why
        )


@pytest.mark.parametrize("name", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("language", ["en", "zh", "ja", "ko"])
def test_a_chosen_tokenizer_gives_sacrebleu_s_score_and_bootstrap(name: str, language: str) -> None:
    references = TEXTS[language] * 8
    said = worse(references)
    (own, _), notes = bleu.scores(said, references, choose(name, None, paired(references)))
    assert own.figure.value == theirs(name, said, references)
    assert (f"tok:{name}|" in notes["BLEU"], notes["BLEU's tokenizer"]) == (
        True,
        f"{name}, as chosen",
    )
    # Segments add up: the figure of any choice of them is the corpus score of that choice.
    chosen = [0, 0, 3, 5, 9]
    again = theirs(name, [said[i] for i in chosen], [references[i] for i in chosen])
    assert own.formula(own.statistics[chosen].sum(0)) == pytest.approx(again)
    resampled = sacrebleu.BLEU(tokenize=name).corpus_score(said, [references], n_bootstrap=1_000)
    low, high = own.figure.interval
    assert (high - low) / 2 == pytest.approx(resampled._ci, rel=0.25, abs=1e-9)


def test_every_tokenizer_of_sacrebleu_is_offered_and_no_other() -> None:
    # "spm" is flores101 under a name that sacrebleu is giving up.
    assert set(BLEU_TOKENIZERS) == set(sacrebleu.BLEU.TOKENIZERS) - {"spm"}
    with pytest.raises(PlanError, match="tokenize is 'words'; it must be one of 13a, intl, zh"):
        choose("words", None, paired(ENGLISH))


@pytest.mark.parametrize(
    ("codes", "language"),
    [
        ("zh zho chi cmn cmn_Hans zh_CN zh-TW zho_Hant yue ZH >>cmn_Hans<< __zh__ zho+cmn", "zh"),
        ("ja jpn ja_XX jpn_Jpan ja-JP >>jpn<< __ja__", "ja"),
        ("ko kor ko_KR kor_Hang >>kor<< __ko__", "ko"),
        ("en eng de fra fr_XX pt-BR th tha_Thai roa zle >>fra<<", ""),
        ("mul und sit jpx ROMANCE multilingual zho+eng cmn;jpn", None),
    ],
)
def test_a_code_is_a_language_however_it_is_written(codes: str, language: str | None) -> None:
    assert {code: language_of(code) for code in codes.split()} == dict.fromkeys(
        codes.split(), language
    )


@pytest.mark.parametrize("language", TEXTS)
def test_the_script_is_what_unicode_says(language: str) -> None:
    names = [unicodedata.name(letter, "") for letter in "".join(TEXTS[language])]
    said = {
        script: sum(name.startswith(script) for name in names)
        for script in ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL", "LATIN", "THAI")
    }
    kana = said["HIRAGANA"] + said["KATAKANA"]
    asian = {"zh": said["CJK UNIFIED"] * (kana == 0), "ja": kana, "ko": said["HANGUL"]}
    assert script_of(TEXTS[language]) == max(asian, key=asian.__getitem__) * any(asian.values())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A talk on the word 道 and its many translations into English.", ""),
        ("华为公司在 Mobile World Congress 上发布了 HarmonyOS 4.0 系统", "zh"),
        ("「の」字招牌很多,台灣的優の良品店也有很多人去看過", "zh"),
        (unicodedata.normalize("NFD", "오늘은 날씨가 좋습니다"), "ko"),
        ("ｶﾀｶﾅ ﾃｷｽﾄ", "ja"),
        ("1 + 1 = 2", ""),
        ("", ""),
    ],
)
def test_the_script_of_mixed_text(text: str, language: str) -> None:
    assert script_of([text]) == language


def test_letters_in_two_parts_are_noted() -> None:
    french = ["Il a été très fâché.", "Je ne sais pas."]
    apart = [unicodedata.normalize("NFD", text) for text in french]
    for references, noted in ((french, None), (apart, "1 of 2 have letters in two parts")):
        measures, notes = bleu.scores(french, references, choose(None, None, paired(references)))
        assert measures[0].figure.value == theirs("13a", french, references)
        assert (notes.get("references") or "").startswith(noted or "")
        assert ("references" in notes) == (noted is not None)


def test_sources_that_ask_for_a_language_tell_it() -> None:
    asked = [(f">>cmn_Hans<< {text}", text) for text in ENGLISH]
    assert choose(None, Told("mul", "the tokenizer"), asked).name == "zh"
    mixed = [*asked, (">>fra<< It rains.", "Il pleut.")]
    assert (
        choose(None, Told("mul", "the tokenizer"), mixed).note == "13a, by the references' script"
    )
    assert choose(None, Told("fr", "the tokenizer"), asked).name == "13a"


@pytest.mark.parametrize("name", ["ja-mecab", "ko-mecab"])
def test_what_is_not_installed_is_a_sentence_if_it_is_asked_for(name: str) -> None:
    language = name[:2]
    if BLEU_TOKENIZERS[name].installed:
        references = TEXTS[language]
        own = bleu.scores(references, references, choose(name, None, paired(references)))[0][0]
        assert own.figure.value == theirs(name, references, references)
        return
    with pytest.raises(MissingPackageError, match=rf'pip install "sacrebleu\[{language}\]"'):
        pairs_task(tokenize=name)


@pytest.mark.parametrize("name", ["flores101", "flores200", "spBLEU-1K"])
def test_a_file_that_sacrebleu_would_download_is_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sacrebleu.tokenizers import tokenizer_spm

    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(DataError, match=rf"which is not there.*BLEU\(tokenize='{name}'\)"):
        pairs_task(tokenize=name)
    path = tmp_path / "models" / Path(tokenizer_spm.SPM_MODELS[name]["url"]).name
    path.parent.mkdir()
    path.write_bytes(opus.pieces(1))
    said = worse(CHINESE)
    (own, _), notes = bleu.scores(said, CHINESE, choose(name, None, paired(CHINESE)))
    assert own.figure.value == theirs(name, said, CHINESE)
    assert f"tok:{name}|" in notes["BLEU"]


FRONT = "---\nlanguage:\n- en\n- zh\nlicense: apache-2.0\n---\n\n"
OPUS = "* source language(s): eng\n* target language(s): cmn_Hans cmn_Hant\n* model: transformer\n"
# What stands in the card → the language that it tells, and the tokenizer for the Chinese data.
CARDS = {
    "one language": ("---\nlanguage:\n- zh\ntags:\n- translation\n---\n", "zh", "zh"),
    "another language": ("---\nlanguage: fr\n---\n", "fr", "13a"),
    "two languages": (FRONT, None, "zh"),
    "OPUS-MT": (FRONT + OPUS, "cmn_Hans cmn_Hant", "zh"),
    "OPUS-MT of 2020": (FRONT + "* source languages: zh\n* target languages: en\n", "en", "13a"),
    "no front matter": ("# A model\n\nlanguage: en\n", None, "zh"),
    "no card": (None, None, "zh"),
}


@pytest.mark.parametrize("card", CARDS)
def test_a_model_card_tells_the_language_where_it_says_which_is_the_target(
    card: str, tmp_path: Path
) -> None:
    text, language, tokenizer = CARDS[card]
    folder = opus.folder(tmp_path, target="mul")
    if text is not None:
        (folder / "README.md").write_text(text, "utf-8")
    if card in ("one language", "another language"):
        assert metadata_load(folder / "README.md")["language"] in (language, [language])
    task = fm.load(folder, task=opus.pairs_file(tmp_path)).task
    assert isinstance(task, fm.Translation)
    assert (task.language, task.told_by) == (language, "the model card" if language else "")
    assert task.bleu_tokenizer.name == tokenizer
    model = fm.load(folder, task=opus.pairs_file(tmp_path))
    saved = fm.load(fm.save(model, tmp_path / "saved").folder).task
    assert isinstance(saved, fm.Translation)
    assert saved.bleu_tokenizer == task.bleu_tokenizer, "though the card stays behind"


def test_the_tokenizer_s_word_comes_before_the_card_s_and_the_user_s_before_both(
    tmp_path: Path,
) -> None:
    folder, pairs = opus.folder(tmp_path, target="fra"), opus.pairs_file(tmp_path)
    (folder / "README.md").write_text("---\nlanguage: zh\n---\n")
    told = fm.evaluate(fm.load(folder, task=pairs))
    assert "tok:13a" in told.notes["BLEU"]
    assert (
        "target language fra, as the tokenizer's target_lang says" in told.notes["BLEU's tokenizer"]
    )
    chosen = fm.evaluate(fm.load(folder, task=pairs, tokenize="zh"))
    assert (chosen.notes["BLEU's tokenizer"], "tok:zh" in chosen.notes["BLEU"]) == (
        "zh, as chosen",
        True,
    )
    assert chosen.predictions == told.predictions


def test_a_configuration_tells_the_language_that_every_translation_begins_with(
    tmp_path: Path,
) -> None:
    folder, pairs = opus.folder(tmp_path, target="mul"), opus.pairs_file(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"extra_special_tokens": ["zho_Hans"]})
    tokenizer.save_pretrained(folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids("zho_Hans")
    (folder / "generation_config.json").write_text(json.dumps(generation))
    task = fm.load(folder, task=pairs).task
    assert isinstance(task, fm.Translation)
    assert (task.language, task.bleu_tokenizer.name) == ("zho_Hans", "zh")


def test_a_choice_is_replayed_saved_and_refused_for_another(tmp_path: Path) -> None:
    folder, pairs = opus.folder(tmp_path), opus.pairs_file(tmp_path)
    plan = fm.MergePlan((("encoder.0", "encoder.1"),), method="vanilla")
    model = fm.load(folder, task=pairs, tokenize="char")
    result = fm.run(fm.Recipe(str(folder), plan, data=str(pairs)), model=model)
    assert result.recipe.tokenize == "char"
    again = fm.run(fm.Recipe.from_dict(json.loads(json.dumps(result.recipe.to_dict()))))
    assert again.after.summary() == result.after.summary()
    assert "tok:char" in again.after.notes["BLEU"]
    saved = fm.load(fm.save(result.merged, tmp_path / "saved").folder)
    assert fm.evaluate(saved).summary() == result.after.summary()
    by_language = fm.load(folder, task=pairs)
    assert by_language.require_task().revision == model.require_task().revision
    assert "tok:zh" in fm.evaluate(by_language).notes["BLEU"]
    with pytest.raises(PlanError, match=r"splits sentences by char.*tokenize='char'"):
        fm.run(result.recipe, model=by_language)
    faithful = fm.load(folder, task=pairs, fidelity=True, tokenize="char")
    assert fm.evaluate(faithful).metric == "top-1 agreement"


def test_it_is_refused_where_nothing_is_translated() -> None:
    with pytest.raises(DataError, match=r"tokenize='zh' says how BLEU.*measured by accuracy"):
        fm.load("demo:vit-digits", tokenize="zh")
    with pytest.raises(PlanError, match="tokenize is 'words'"):
        fm.load("demo:marian-en-fr", tokenize="words")
