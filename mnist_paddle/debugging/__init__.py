"""A debugger for training: faults and what names them, past steps replayed, lessons in finding faults."""

__all__ = ["bench", "bugs", "lesson", "lesson_check", "lesson_figure", "lesson_words", "past", "replay", "replayed", "report"]
