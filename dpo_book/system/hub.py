"""The Hugging Face hub, and what to make of its silence."""

import os

import huggingface_hub


def hub_answers(name: str) -> bool:
    """Whether there is a hub to ask for the model ``name``; no, and nobody is asked, for a local path.

    One quick question, for without a network transformers alone would ask again for most of a minute.
    """
    if os.path.exists(name):
        return False
    try:
        huggingface_hub.HfApi().model_info(name, timeout=10)
    except (huggingface_hub.errors.HfHubHTTPError, huggingface_hub.errors.HFValidationError):
        return True  # it answers that there is no such model: transformers says so better
    except Exception:  # of a dozen classes, by version and transport; all mean that it cannot be reached
        return False
    return True


def first_line(error: Exception) -> str:
    """What it says, without the advice that the hub's libraries put below."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
