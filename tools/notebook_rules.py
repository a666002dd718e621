"""What a committed notebook must keep to, so that it reads the same for everybody and can be verified."""

import re
from collections.abc import Iterator

from nbformat import NotebookNode

LOCAL_PATH = re.compile(r"(?<![\w.:/])/(?:root|home|tmp|work|Users|usr|var|opt|mnt)/|\b[A-Z]:\\\\?\w|file://")
INSIDE_A_PICTURE = re.compile(r"(?<=data:image/png;base64,)[\w+/=]*")
WITH_ALT = re.compile(r'<img alt="[^"]')
WIDGET = "application/vnd.jupyter.widget-view+json"


def problems(notebook: NotebookNode) -> Iterator[str]:
    """Every rule that the recorded outputs break, each with the number of its cell."""
    count = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            count += 1
            if cell.execution_count != count:
                yield f"cell {number}: execution count {cell.execution_count}, not {count}"
        for output in cell.outputs:
            for problem in _output_problems(output, cell.metadata.get("tags", [])):
                yield f"cell {number}: {problem}"


def _output_problems(output: NotebookNode, tags: list[str]) -> Iterator[str]:
    if output.output_type == "error":
        if "raises-exception" not in tags:
            yield f"{output.ename}: {output.evalue}"
        elif found := LOCAL_PATH.search("\n".join(output.traceback)):
            yield f"names a place on one machine: {_around(found)}"
        return
    if output.get("name") == "stderr":
        yield f"writes to stderr: {output.text.strip()[:200]}"
    data = output.get("data", {})
    page = data.get("text/html", "")
    images = page.count("<img")
    if images > len(WITH_ALT.findall(page)) or ("image/png" in data and not images):
        yield "a picture without alt text: after setup(), a Figure shows its label as such"
    if WIDGET in data:
        yield "a widget without HTML, which is all that a page without a kernel can show"
    text = "\n".join([output.get("text", ""), *(str(v) for k, v in data.items() if k.startswith("text/"))])
    text = INSIDE_A_PICTURE.sub("", text)
    if found := LOCAL_PATH.search(text):
        yield f"names a place on one machine: {_around(found)}"
    if "\x1b[" in text:
        yield "holds terminal colours"
    if found := re.search(r"\w*Warning\b", text):
        yield f"shows a warning: {_around(found)}"


def _around(found: re.Match) -> str:
    text = found.string
    return repr(text[max(0, found.start() - 20) : found.end() + 40])
