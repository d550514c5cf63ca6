"""Writes the two dashboards as JSON into `deploy/grafana/dashboards`; `--check`: are they as committed?

python deploy/grafana/source/generate.py [--check]
"""

import json
import sys
from pathlib import Path

from operators import operators
from people import people

_DASHBOARDS = Path(__file__).parents[1] / "dashboards"


def main() -> int:
    """0: written, or up to date; 1: what is committed differs."""
    status = 0
    for name, dashboard in (("people", people()), ("operators", operators())):
        path = _DASHBOARDS / f"{name}.json"
        text = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(
                f"{path.name} differs from its source: run python deploy/grafana/source/generate.py\n"
            )
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
