"""Writes serving/models.config, which names every model folder in saved_models/ to TensorFlow Serving.

    python serving/configure.py [FOLDER] [--output FILE] [--root PATH]

Each model is served under its folder's name, its two newest versions at once, so that a client may stay on the older.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HERE = Path(__file__).parent
ENTRY = """\
  config {{
    name: "{name}"
    base_path: "{root}/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 2 }} }}
  }}
"""


def config(folder: Path, root: str) -> str:
    """The text of models.config for the model folders in a folder, which the server sees as `root`."""
    names = sorted({path.parents[1].name for path in folder.glob("*/*/saved_model.pb") if path.parent.name.isdigit()})
    return "model_config_list {\n" + "".join(ENTRY.format(name=name, root=root) for name in names) + "}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parent / "saved_models")
    parser.add_argument("--output", type=Path, default=HERE / "models.config")
    parser.add_argument("--root", default="/models", help="where the server finds the folder")
    args = parser.parse_args()
    args.output.write_text(config(args.folder, args.root), encoding="utf-8")
    print(f"{args.output}: written")


if __name__ == "__main__":
    main()
