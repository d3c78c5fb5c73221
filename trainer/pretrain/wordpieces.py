"""Makes a WordPiece tokenizer from texts; the same texts give the same bytes.

Chinese is taken character by character, as BERT takes it.

The `tokenizers` library numbers continuing pieces in the order of a randomly seeded hash map, so
two trainings of its WordPiece differ. Here every character that continues a word is moved into a
private plane of Unicode and plain byte pairs are learned, whose order is fixed; the pieces found
become a WordPiece vocabulary.

*Source:* Wu et al., Google's Neural Machine Translation System, 2016, section 4.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 40
MOST_CHARACTERS = 2_000_000
_PLANE = 0xF0000
_HIGHEST = 0x10FFFF - _PLANE


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of at most `vocabulary` pieces; half of them at most are single characters.

    Of more than `MOST_CHARACTERS` only every so many texts are read, spread over all.
    """
    every = 1 + sum(map(len, texts)) // MOST_CHARACTERS
    tokenizer = _untrained({one: number for number, one in enumerate(SPECIAL)})
    words = _count_words(tokenizer, texts[::every])
    kept = _characters(words, vocabulary // 2)
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL), min_frequency=2, show_progress=False
    )
    learned.train_from_iterator(_lines(words, kept), trainer)
    found = sorted(learned.get_vocab().items(), key=lambda item: item[1])
    pieces = [*SPECIAL, *(_as_piece(token) for token, _ in found)]
    return _untrained({piece: number for number, piece in enumerate(dict.fromkeys(pieces))})


def _untrained(vocabulary: dict[str, int]) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _count_words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    normalize = tokenizer.normalizer.normalize_str
    divide = tokenizer.pre_tokenizer.pre_tokenize_str
    found: Counter[str] = Counter()
    for text in texts:
        found.update(word for word, _ in divide(normalize(text)) if len(word) <= LONGEST_WORD)
    return found


def _characters(words: Counter[str], most: int) -> set[str]:
    """The most frequent characters at their places (a beginning or not); ties by code point."""
    found: Counter[str] = Counter()
    for word, times in words.items():
        for shifted in _shift(word):
            found[shifted] += times
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {one for one, times in ranked[:most] if times > 1}


def _shift(word: str) -> str:
    """The word with its continuing characters moved; those beyond the plane are left out."""
    rest = (chr(ord(one) + _PLANE) for one in word[1:] if ord(one) <= _HIGHEST)
    return word[:1] + "".join(rest)


def _lines(words: Counter[str], kept: set[str]) -> Iterator[str]:
    """Each word as often as it occurs, without the characters that are too rare."""
    for word, times in sorted(words.items()):
        shifted = "".join(one for one in _shift(word) if one in kept)
        if shifted:
            # A character alone has nothing to be joined with: once is enough.
            yield " ".join([shifted] * (times if len(shifted) > 1 else 1))


def _as_piece(token: str) -> str:
    """The WordPiece form of a token: moved characters continue a word."""
    plain = "".join(chr(ord(one) - _PLANE) if ord(one) >= _PLANE else one for one in token)
    return f"##{plain}" if ord(token[0]) >= _PLANE else plain
