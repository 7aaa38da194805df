"""Strings to ids and back (floor 1): one :class:`Tokenizer` over two libraries, and training of new vocabularies."""

from regard.text.chat import ChatTemplate
from regard.text.encoding import Encoding
from regard.text.tokenizer import Tokenizer
from regard.text.train import train_tokenizer
from regard.text.train_pieces import train_pieces

__all__ = ["ChatTemplate", "Encoding", "Tokenizer", "train_pieces", "train_tokenizer"]
