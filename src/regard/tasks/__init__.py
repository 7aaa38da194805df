"""Tasks (floor 4): what a row holds, how it is answered, and what is learned from it, one file each."""

from regard.tasks import (
    audio_classification,
    automatic_speech_recognition,
    fill_mask,
    image_classification,
    multiple_choice,
    question_answering,
    regression,
    summarization,
    text_classification,
    text_generation,
    text_to_text,
    token_classification,
    translation,
)

__all__ = [
    "audio_classification",
    "automatic_speech_recognition",
    "fill_mask",
    "image_classification",
    "multiple_choice",
    "question_answering",
    "regression",
    "summarization",
    "text_classification",
    "text_generation",
    "text_to_text",
    "token_classification",
    "translation",
]
