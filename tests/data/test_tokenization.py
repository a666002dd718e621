"""Prompt and completion are the ids of their one text, by tokenizers of every kind, and those of TRL's DPOTrainer."""

import datetime
import re
import warnings
from collections import Counter
from pathlib import Path

import jinja2
import pytest

from dpo_book.data.conversations import ends_of_answers
from dpo_book.data.pairs import PairError, tokenize_pairs
from dpo_book.data.preferences import Preference
from dpo_book.data.tokens import completion_texts, opening_ids, plain_ids, prompt_ids
from tests.data.chat_templates import EOS as END, TEMPLATES, tokenizer_with
from tests.data.tokenizers_of_all_kinds import EOS, KINDS, LOSSLESS
from tests.data.trl_tokenisation import trl_pairs

# What stands at the seam: a space, nothing, a line break, a word that goes on, spaces on both sides, no ASCII.
ROWS = [
    ("The film was", " good", " bad"),
    ("The film was ", "good", "bad"),
    ("User: why\nAssistant:", "yes", "no"),
    ("User: why\n", "yes", "no"),
    ("a goo", "d film", "ds"),
    ("a\n\n", "yes", "no"),
    ("two ", " spaces", "  more"),
    ("yes", "\n\n\nno", "\tand"),
    ("The 好", " 很好", "不好"),
    ("Très", " drôle 🙂", " ennuyeux"),
    ("The", f" good{EOS}", " bad"),
    ("The", f" good{EOS} film", f" good{EOS} plot"),
]


# What looks like a special token in a chat template.
MARKS = r"<[|｜][^<>{}\s]+[|｜]>|</?(?:think|end_of_turn|start_of_turn|turn\|)>"


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind):
    return KINDS[kind]()


def pair_of(row, tokenizer):
    """One row's pair; that a prompt's end moved into the completion is said elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (pair,) = tokenize_pairs([Preference(*row)], tokenizer)
    return pair


def ended(ids, tokenizer):
    return ids if ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


@pytest.mark.parametrize("row", ROWS)
def test_prompt_and_completion_are_the_ids_of_the_one_text(row, kind, tokenizer):
    pair = pair_of(row, tokenizer)
    for text, completion in zip(row[1:], (pair.chosen, pair.rejected), strict=True):
        whole = [*opening_ids(tokenizer), *plain_ids(tokenizer, [row[0] + text])[0]]
        assert pair.prompt + completion == ended(whole, tokenizer)
        assert tokenizer.eos_token_id not in pair.prompt
        if kind in LOSSLESS and EOS not in text:  # beside a special token some decoders add a space
            said = tokenizer.decode(pair.prompt + completion, skip_special_tokens=True)
            assert said.removeprefix(" ") == row[0] + text  # the space that some put before any text


def test_they_are_what_trl_makes_of_them(kind, tokenizer):
    rows = [dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in ROWS]
    for row, theirs in zip(ROWS, trl_pairs(rows, tokenizer), strict=True):
        if kind.endswith("EOS behind"):  # TRL writes an EOS and lets the tokenizer set one more; one is enough
            prompt, *completions = theirs
            assert all(ids[-2:] == [tokenizer.eos_token_id] * 2 for ids in completions)
            theirs = (prompt, *(ids[:-1] for ids in completions))
        assert tuple(pair_of(row, tokenizer)[:3]) == theirs


def test_an_empty_prompt_is_what_the_tokenizer_puts_before_a_text_or_else_bos(tokenizer):
    opening = opening_ids(tokenizer) or [tokenizer.bos_token_id]
    assert pair_of(("", "good", "bad"), tokenizer).prompt == opening
    assert prompt_ids(tokenizer, [""]) == [opening]


def test_prompts_to_be_continued_never_end_in_an_eos_of_the_tokenizers_own(tokenizer):
    texts = [row[0] for row in ROWS]
    for text, ids in zip(texts, prompt_ids(tokenizer, texts), strict=True):
        assert ids == [*opening_ids(tokenizer), *plain_ids(tokenizer, [text])[0]]
        assert ids[-1] != tokenizer.eos_token_id


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("row", ROWS[:-2])
def test_a_completion_says_its_white_space_too(row, kind):
    tokenizer = KINDS[kind]()
    pair = pair_of(row, tokenizer)
    (text,) = completion_texts(tokenizer, [pair.prompt], [pair.chosen])
    prompt = tokenizer.decode(pair.prompt, skip_special_tokens=True)
    assert (prompt + text).removeprefix(" ") == row[0] + row[1]


def test_where_a_prompts_end_is_scored_one_warning_names_the_rows():
    rows = [Preference("The film was", " good", " bad"), Preference("The film was ", "good", "bad")]
    tokenizer = KINDS["byte-level"]()
    with pytest.warns(UserWarning, match=r"in 1 of 2 pairs: the prompt's end is written differently .*\(row 2\)"):
        tokenize_pairs(rows, tokenizer)


# ------------------------------------------------------------------ conversations


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


HI = Preference([user("Hi")], [assistant("Hello.")], [assistant("Go away.")])


def texts(pair, tokenizer):
    return tuple(tokenizer.decode(ids) for ids in pair[:3])


@pytest.fixture(params=TEMPLATES)
def template(request):
    return TEMPLATES[request.param]


def chat_pair(preference, tokenizer, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (pair,) = tokenize_pairs([preference], tokenizer, **how)
    return pair


def test_scored_are_exactly_the_assistants_turn_and_its_end_mark(template):
    tokenizer = tokenizer_with(template.source, template.marks)
    pair = chat_pair(HI, tokenizer)
    rejected = template.scored.replace("Hello.", "Go away.")
    assert texts(pair, tokenizer) == (template.prompt, template.scored, rejected)


def test_the_mark_of_a_turn_is_where_others_stop_too(template):
    tokenizer = tokenizer_with(template.source, template.marks)
    last = chat_pair(HI, tokenizer).chosen[-1]
    assert ends_of_answers(tokenizer) == {tokenizer.eos_token_id, last}


@pytest.mark.parametrize("answer", ["end", "d", "|", "im_end", "<|im_end|>", "x <|im_end|>"])
def test_an_answer_that_looks_like_the_mark_is_ended_by_it_all_the_same(answer):
    template = TEMPLATES["SmolLM"]
    tokenizer = tokenizer_with(template.source, template.marks)
    pair = chat_pair(Preference(HI.prompt, [assistant(answer)], HI.rejected), tokenizer)
    assert texts(pair, tokenizer)[1] == f"{answer}<|im_end|>"


def test_a_word_that_ends_an_answer_is_no_mark_of_the_template():
    tokenizer = tokenizer_with(TEMPLATES["no mark"].source, ("<stop>",))
    pair = chat_pair(Preference(HI.prompt, [assistant("x<stop>")], HI.rejected), tokenizer)
    assert texts(pair, tokenizer)[1] == f" x<stop>\n{END}"


def test_several_turns_and_a_system_message_come_before(template):
    tokenizer = tokenizer_with(template.source, template.marks)
    before = [user("2+2?"), assistant("4.")]
    if "System role" not in template.source and "[INST]" not in template.source:
        before.insert(0, {"role": "system", "content": "Be brief"})
    pair = chat_pair(Preference([*before, *HI.prompt], HI.chosen, HI.rejected), tokenizer)
    prompt, chosen, _ = texts(pair, tokenizer)
    assert chosen == template.scored
    assert all(message["content"] in prompt for message in before)


def test_an_answer_that_was_begun_is_gone_on_with(template):
    tokenizer = tokenizer_with(template.source, template.marks)
    begun = Preference([user("2+2?"), assistant("It is")], [assistant(" 4.")], [assistant(" 5.")])
    prompt, chosen, rejected = texts(chat_pair(begun, tokenizer), tokenizer)
    end = template.scored.removeprefix(" ").removeprefix("Hello.")
    assert prompt.endswith("It is")
    assert (chosen, rejected) == (f" 4.{end}", f" 5.{end}")


def test_what_a_template_says_of_the_date_is_the_date_that_it_is_told():
    source = "{{ 'Today is ' + strftime_now('%d %B %Y') + '. ' }}" + TEMPLATES["no mark"].source
    tokenizer = tokenizer_with(source)
    pair = chat_pair(HI, tokenizer, date=datetime.date(2024, 7, 26))
    assert texts(pair, tokenizer)[0] == "Today is 26 July 2024. <user> Hi\n<assistant>"
    today = datetime.date.today()
    assert texts(chat_pair(HI, tokenizer), tokenizer)[0].startswith(f"Today is {today:%d %B %Y}")


SECRET = [{"role": "system", "content": "Be kind"}, *HI.prompt]
MENTIONS = "{# no tools, no tool_calls #}{% set enable_thinking = enable_thinking | default(1) %}"
REFUSED = {
    "a system message that is dropped": (
        Preference(SECRET, HI.chosen, HI.rejected),
        TEMPLATES["no mark"].source.replace("in messages", "in messages if message.role != 'system'"),
        "leaves out the content of the system's message",
    ),
    "an answer's first turn that is dropped": (
        Preference(HI.prompt, [assistant("One."), user("And?"), assistant("Two.")], HI.rejected),
        TEMPLATES["no mark"].source.replace("in messages", "in messages if message.content != 'One.'"),
        "leaves out the content of the answer",
    ),
    "tools of which a remark alone speaks": (
        Preference(HI.prompt, HI.chosen, HI.rejected, tools=[{"type": "function"}]),
        MENTIONS + TEMPLATES["SmolLM"].source,
        "does not render 'tools'",
    ),
    "a thought, where thinking is an option": (
        Preference(HI.prompt, [assistant("x", thinking="hm")], HI.rejected),
        MENTIONS + TEMPLATES["SmolLM"].source,
        "does not render 'thinking'",
    ),
    "an option that is half of another's name": (
        Preference(HI.prompt, HI.chosen, HI.rejected, chat_template_kwargs={"think": True}),
        MENTIONS + TEMPLATES["SmolLM"].source,
        "does not render 'think'",
    ),
    "a template that raises": (HI, "{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    "a field that is not there": (HI, "{{ messages[0].name.upper() }}", "the chat template fails: UndefinedError"),
    "a template that is none": (HI, "{% if %}", "the chat template fails: TemplateSyntaxError"),
    "one that drops the answer": (HI, "{{ messages[0].content }}", "leaves out the content of the answer"),
    "a call that is not rendered": (
        Preference(HI.prompt, [assistant("x", tool_calls=[{"name": "f"}])], HI.rejected),
        TEMPLATES["SmolLM"].source,
        "does not render 'tool_calls'",
    ),
    "a thought that is not rendered": (
        Preference(HI.prompt, [assistant("x", thinking="hm")], HI.rejected),
        TEMPLATES["SmolLM"].source,
        "does not render 'thinking'",
    ),
    "tools that are not rendered": (
        Preference(HI.prompt, HI.chosen, HI.rejected, tools=[{"type": "function"}]),
        TEMPLATES["SmolLM"].source,
        "does not render 'tools'",
    ),
    "tools without a template": (
        Preference(HI.prompt, HI.chosen, HI.rejected, tools=[{"type": "function"}]),
        None,
        "there is no chat template to render 'tools'",
    ),
    "an option that the template does not have": (
        Preference(HI.prompt, HI.chosen, HI.rejected, chat_template_kwargs={"enable_thinking": False}),
        TEMPLATES["SmolLM"].source,
        "does not render 'enable_thinking'",
    ),
    "an option that is the book's": (
        Preference(HI.prompt, HI.chosen, HI.rejected, chat_template_kwargs={"tokenize": True}),
        TEMPLATES["SmolLM"].source,
        "chat_template_kwargs cannot set tokenize",
    ),
    "answers that differ where the template does not look": (
        Preference(HI.prompt, [assistant("x", name="a")], [assistant("x", name="b")]),
        TEMPLATES["SmolLM"].source,
        "chosen and rejected differ, but the chat template writes them alike",
    ),
    "no message": (Preference([], HI.chosen, HI.rejected), None, "needs at least one message"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_conversation_that_cannot_be_written_without_loss_names_its_row(case):
    preference, source, why = REFUSED[case]
    with pytest.raises(PairError, match=f"row 2: .*{why}"):
        tokenize_pairs([Preference("x", "a", "b"), preference], tokenizer_with(source))


def test_what_a_template_renders_of_tools_calls_and_options_is_in_the_ids():
    source = (
        "{{ tools | length }} tools, {{ mood }}: "
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ m.tool_calls | default('') }}{{ eos_token }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer = tokenizer_with(source)
    call = assistant("", tool_calls=["look"])
    row = Preference(
        HI.prompt, [call], HI.rejected, tools=[{"type": "function"}], chat_template_kwargs={"mood": "gay"}
    )
    prompt, chosen, _ = texts(chat_pair(row, tokenizer), tokenizer)
    assert prompt == f"1 tools, gay: <user>Hi{END}<assistant>"
    assert chosen == f"['look']{END}"


def chats():
    return [
        HI,
        Preference([{"role": "system", "content": "Be kind"}, *HI.prompt], HI.chosen, HI.rejected),
        Preference([user("Hi"), assistant("Yes?"), user("2+2?")], [assistant("4")], [assistant("5")]),
        Preference(HI.prompt, [assistant("Yes?"), user("2+2"), assistant("4")], [assistant("No")]),
    ]


def thoughts():
    well, so_what = assistant("4", reasoning_content="well"), assistant("5", reasoning_content="so what")
    return [Preference(HI.prompt, [well], [so_what])]


def trl_templates():
    trl = pytest.importorskip("trl", minversion="1.16")
    return sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))


def difference(ours, theirs, tokenizer):
    """Why the ids are not TRL's, of the reasons that there are; None where they are. Anything else is a fault."""
    if ours == theirs:
        return None
    assert ours[0] == theirs[0]
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        if mine == [*other, tokenizer.eos_token_id]:
            return "the template has no mark at the end of a turn: EOS"
        assert other[: len(mine)] == mine
        assert tokenizer.decode(other[len(mine) :]).isspace()
    return "white space after the mark is not scored"


def by_both(preferences, tokenizer):
    """Of those that we do not refuse, our ids and TRL's; and why we refuse the others."""
    ours, rows, refused = [], [], []
    for chat in preferences:
        row = {"prompt": chat.prompt, "chosen": chat.chosen, "rejected": chat.rejected}
        try:
            ours.append(tuple(chat_pair(chat, tokenizer)[:3]))
            rows.append(row)
        except PairError as error:
            refused.append(str(error))
            if "the chat template fails" in str(error):
                with pytest.raises(jinja2.TemplateError):  # in TRL as well
                    trl_pairs([row], tokenizer)
    return list(zip(ours, trl_pairs(rows, tokenizer) if rows else [], strict=True)), refused


def test_conversations_by_the_templates_that_trl_knows_are_tokenised_as_by_trl():
    counted, others = Counter(), []
    for path in trl_templates():
        source = path.read_text(encoding="utf-8")
        marks = sorted(set(re.findall(MARKS, source)))
        tokenizer = tokenizer_with(source, marks)
        for preferences in (chats(), thoughts()):  # apart, for in one data set all messages have the same fields
            compared, refused = by_both(preferences, tokenizer)
            counted.update(difference(ours, theirs, tokenizer) for ours, theirs in compared)
            others += refused
    assert len(counted) == 3
    assert sum(counted.values()) > 200
    for why in others:  # what TRL leaves out without a word
        assert re.search("leaves out the content|does not render 'reasoning_content'|template fails", why)
