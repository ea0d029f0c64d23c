"""Write the README's table of figures from docs/demo.json, which `eqvid demo` wrote as figures.json.

python benchmarks/readme.py            rewrites the table
python benchmarks/readme.py --check    exits with 1 where the README says something else
"""

import argparse
import json
import re
import sys
from pathlib import Path

from eqvid_tf.evaluation.scorecard import COLUMNS
from eqvid_tf.pixels.sheets import text_table

ROOT = Path(__file__).parents[1]
MARKS = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def table() -> str:
    found = json.loads((ROOT / "docs/demo.json").read_text(encoding="utf-8"))
    methods = sorted({name.split("/")[0] for name in found})
    columns = [column for column in COLUMNS if any(column in found[f"{method}/demo"] for method in methods)]
    rows = [[method, *(found[f"{method}/demo"].get(column, "") for column in columns)] for method in methods]
    return text_table(rows, ["", *columns], digits=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    page = ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    made = MARKS.sub(lambda _: table(), text)
    if parser.parse_args().check:
        return int(made != text)
    page.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
