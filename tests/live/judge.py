"""What an engine with a cache without end would find, and whether a prediction in cells of text is right about tokens."""

import tokenizers


class Tokens:
    """How many bytes of text tokens are: of a byte-level vocabulary, in which each character of an entry is one byte."""

    def __init__(self, path):
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        special = tokenizer.get_added_tokens_decoder()
        self.sizes = {number: len(entry) for entry, number in tokenizer.get_vocab().items()}
        self.sizes |= {number: len(token.content.encode()) for number, token in special.items()}
        # Generated as if they were words: they stay as they are when a client sends them back, as a trained model's do.
        self.words = [number for entry, number in sorted(tokenizer.get_vocab().items()) if is_word(tokenizer, entry, number)]

    def bytes_of(self, tokens):
        return sum(self.sizes[token] for token in tokens)

    def within(self, tokens, size):
        """How many of the tokens are whole within so many bytes."""
        for count, token in enumerate(tokens):
            size -= self.sizes[token]
            if size < 0:
                return count
        return len(tokens)


def is_word(tokenizer, entry, number):
    letters = entry.removeprefix("Ġ")
    is_plain = len(letters) >= 3 and letters != entry and letters.isascii() and letters.isalpha() and letters.islower()
    return is_plain and tokenizer.encode(f" {letters}", add_special_tokens=False).ids == [number]


class Endless:
    """A cache that forgets nothing, of all engines together."""

    def __init__(self, block_tokens):
        self.block_tokens = block_tokens
        self.held = set()

    def blocks(self, root, tokens):
        """The name of each full block and of all before it."""
        name = hash(root)
        for end in range(self.block_tokens, len(tokens) + 1, self.block_tokens):
            name = hash((name, tuple(tokens[end - self.block_tokens : end])))
            yield name

    def find(self, root, prompt):
        """Tokens of the prompt that it has; the last one is always computed."""
        found = 0
        for name in self.blocks(root, prompt[:-1]):
            if name not in self.held:
                break
            found += self.block_tokens
        return found

    def add(self, root, prompt, output):
        """The last token of an output is never computed."""
        self.held.update(self.blocks(root, prompt + output[:-1]))


class Score:
    """How far the predictions were from what the engine said."""

    def __init__(self, tokens, cell_bytes, block_tokens):
        self.tokens, self.cell_bytes, self.block_tokens = tokens, cell_bytes, block_tokens
        self.all, self.right, self.worst, self.wrong = 0, 0, 0, []

    def add(self, prompt, cells, cached, about):
        """A cell is held if all its bytes are, so what is cached lies between the predicted cells and one more."""
        least = self.tokens.within(prompt, cells * self.cell_bytes)
        most = self.tokens.within(prompt, (cells + 1) * self.cell_bytes)
        away = max(least - cached, cached - most, 0)
        self.all += 1
        self.worst = max(self.worst, away)
        if away <= self.block_tokens:
            self.right += 1
        else:
            self.wrong.append(f"{about}: {cells} cells are {least} to {most} tokens, the engine had {cached} of {len(prompt)}")

    def share(self):
        return self.right / self.all if self.all else 1.0
