"""A tokenizer of every kind that there is: how they cut, where they put spaces, what they add around a text."""

import json
from functools import partial

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

BOS, EOS, UNKNOWN, SPACE = "<s>", "</s>", "<unk>", "▁"
SPECIAL = [BOS, EOS, UNKNOWN]
TEXTS = (
    "The film was good and the ending was bad.",
    "Yes! No? A dull plot, but great acting; 12 points of 100.\n\nUser: why\nAssistant: because",
    "yes no good bad goods badly nothing  two  spaces\n\n\nthree breaks\tand a tab",
    "Très drôle, très ennuyeux. 好 很好 不好 🙂",
)


def learned(tokenizer, trainer, around=None):
    """Trained on TEXTS, as transformers has it; around: what it puts before and behind a text."""
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    return finished(tokenizer, around)


def finished(tokenizer, around):
    if around:
        ids = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
        tokenizer.post_processor = processors.TemplateProcessing(single=around, special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def byte_level(prefix_space=False, around=None):
    """GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return learned(tokenizer, bytes_trainer(), around)


def bytes_trainer():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)


def split_first():
    """Llama 3's and Qwen's kind: a pattern cuts, and line breaks go with what stands before them."""
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    cut = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return learned(tokenizer, bytes_trainer(), f"{BOS} $A")


def sentencepiece(scheme=None, around=None):
    """Llama 2's and Mistral's kind: spaces are ▁, and one is put before a text; unknown characters are bytes.

    scheme: Metaspace's; without one the normalizer puts the space.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(merge) for merge in model["merges"]]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)

    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token=UNKNOWN, fuse_unk=True))
    tokenizer.add_special_tokens(SPECIAL)
    if scheme is None:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if scheme != "never":
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    return finished(tokenizer, around)


def unigram():
    """T5's and XLNet's kind: the likeliest way to cut the whole text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token=UNKNOWN, show_progress=False)
    return learned(tokenizer, trainer, f"$A {EOS}")


def with_a_space_first():
    """Its first ordinary token is the space alone, which says nothing by itself."""
    vocab = [*((token, 0.0) for token in SPECIAL), (SPACE, -3.0)]
    vocab += [(f"{SPACE}{word}", -2.0) for word in ("The", "film", "was", "good", "bad", "a")]
    vocab += [(letter, -4.0) for letter in sorted(set("".join(TEXTS)) - {" "})]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return finished(tokenizer, f"{BOS} $A")


def word_pieces():
    """BERT's kind: lower case, a word in pieces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    return learned(tokenizer, trainer, f"{BOS} $A {EOS}")


def words():
    """A word a token."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return learned(tokenizer, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))


def characters():
    """A character a token, after Unicode's own normal form."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(vocab_size=0, special_tokens=SPECIAL, show_progress=False)
    return learned(tokenizer, trainer)


KINDS = {
    "byte-level": byte_level,
    "byte-level, a space before": partial(byte_level, prefix_space=True),
    "byte-level, EOS behind": partial(byte_level, around=f"$A {EOS}"),
    "byte-level after a split, BOS before": split_first,
    "metaspace always, BOS before": partial(sentencepiece, "always", f"{BOS} $A"),
    "metaspace first, BOS before": partial(sentencepiece, "first", f"{BOS} $A"),
    "metaspace first, BOS before and EOS behind": partial(sentencepiece, "first", f"{BOS} $A {EOS}"),
    "metaspace never": partial(sentencepiece, "never"),
    "a normalizer puts the space, BOS before": partial(sentencepiece, None, f"{BOS} $A"),
    "unigram, EOS behind": unigram,
    "unigram, the space its first token": with_a_space_first,
    "word pieces, BOS before and EOS behind": word_pieces,
    "words": words,
    "characters": characters,
}

# Those whose ids say every text that they know, letter by letter.
LOSSLESS = [kind for kind in KINDS if not kind.startswith(("word", "unigram", "characters"))]
