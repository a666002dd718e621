"""Rows of preferences to make files of: text, a conversation, a call of a tool."""

import json

ROW = {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
USER = {"role": "user", "content": "Hi"}
KIND = {"role": "assistant", "content": "Hello!"}
RUDE = {"role": "assistant", "content": "Go away."}
CHAT = {"prompt": [USER], "chosen": [KIND], "rejected": [RUDE]}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def without(*columns):
    return {column: value for column, value in ROW.items() if column not in columns}
