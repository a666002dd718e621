"""Chat templates that behave like the common ones, and what each has to score of an answer "Hello."."""

from typing import NamedTuple

from dpo_book.models.policy import train_tokenizer

EOS = "<|endoftext|>"


class Template(NamedTuple):
    """source: in Jinja. marks: its special tokens. prompt, scored: of ``Hi`` answered with ``Hello.``."""

    source: str
    marks: tuple[str, ...]
    prompt: str
    scored: str


def turns(turn, opening):
    """A template that writes every message as ``turn`` and opens the assistant's with ``opening``."""
    return (
        "{%- for message in messages -%}" + turn + "{%- endfor -%}"
        "{%- if add_generation_prompt -%}" + opening + "{%- endif -%}"
    )


CHATML = "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
FIRST_IS_SYSTEM = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|im_start|>system\nBe of help<|im_end|>\n' }}{%- endif -%}"
)

TEMPLATES = {
    "SmolLM": Template(
        FIRST_IS_SYSTEM + turns(CHATML, "{{ '<|im_start|>assistant\n' }}"),
        ("<|im_start|>", "<|im_end|>"),
        "<|im_start|>system\nBe of help<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "Hello.<|im_end|>",
    ),
    "Llama": Template(
        "{{ '<|begin|>' }}"
        + turns(
            "{{ '<|header|>' + message['role'] + '<|/header|>\n\n' + message['content'] | trim + '<|eot|>' }}",
            "{{ '<|header|>assistant<|/header|>\n\n' }}",
        ),
        ("<|begin|>", "<|header|>", "<|/header|>", "<|eot|>"),
        "<|begin|><|header|>user<|/header|>\n\nHi<|eot|><|header|>assistant<|/header|>\n\n",
        "Hello.<|eot|>",
    ),
    "Gemma": Template(
        "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}"
        + turns(
            "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
            "{{ raise_exception('Conversation roles must alternate') }}{%- endif -%}"
            "{{ '<start_of_turn>' + (message['role'] | replace('assistant', 'model')) + '\n'"
            " + message['content'] | trim + '<end_of_turn>\n' }}",
            "{{ '<start_of_turn>model\n' }}",
        ),
        ("<start_of_turn>", "<end_of_turn>"),
        "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
        "Hello.<end_of_turn>",
    ),
    "Mistral": Template(
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'user' -%}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{%- else -%}{{ ' ' + message['content'] + eos_token }}{%- endif -%}{%- endfor -%}",
        ("[INST]", "[/INST]"),
        "[INST] Hi [/INST]",
        f" Hello.{EOS}",
    ),
    "Zephyr": Template(
        turns(
            "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}", "{{ '<|assistant|>\n' }}"
        ),
        ("<|user|>", "<|assistant|>", "<|system|>"),
        f"<|user|>\nHi{EOS}\n<|assistant|>\n",
        f"Hello.{EOS}",
    ),
    "a mark, then EOS": Template(
        turns("{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>\n' }}", "{{ '<|assistant|>' }}")
        + "{%- if not add_generation_prompt -%}{{ eos_token }}{%- endif -%}",
        ("<|user|>", "<|assistant|>", "<|end|>"),
        "<|user|>Hi<|end|>\n<|assistant|>",
        f"Hello.<|end|>\n{EOS}",
    ),
    "no mark": Template(
        turns("{{ '<' + message['role'] + '> ' + message['content'] + '\n' }}", "{{ '<assistant>' }}"),
        (),
        "<user> Hi\n<assistant>",
        f" Hello.\n{EOS}",  # nobody would learn to stop without it
    ),
    "a thought opened for generation": Template(
        turns(CHATML, "{{ '<|im_start|>assistant\n<think>\n' }}"),
        ("<|im_start|>", "<|im_end|>", "<think>"),
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "Hello.<|im_end|>",
    ),
}


def tokenizer_with(source, marks=()):
    """Bytes are its only tokens, and the marks, and EOS; with this chat template."""
    tokenizer = train_tokenizer([], vocab_size=257)
    tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    tokenizer.chat_template = source
    return tokenizer
