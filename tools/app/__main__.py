"""`python -m tools.app`."""

from tools import command_line
from tools.app.serve import app

if __name__ == "__main__":
    command_line.run(app)
