"""How far a split can be trusted, without truth: a trained model more than an untrained one, and said in words."""

import json
import shutil

import keras
import numpy as np
import pytest

from eqvid_tf import model_folder
from eqvid_tf.cli import main
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import open_clip
from eqvid_tf.evaluation.certificate import certify, trust_in_words
from eqvid_tf.model_folder import read_metrics
from eqvid_tf.separation.characters import ClipCharacters


@pytest.fixture(scope="module")
def clip(scene, tmp_path_factory):
    """The frames alone, without the truth."""
    folder = tmp_path_factory.mktemp("clips") / "first"
    shutil.copytree(scene / "frames", folder)
    return open_clip(folder, cache=None)


def test_a_trained_model_is_trusted_more_than_an_untrained_one(trained, clip):
    keras.utils.set_random_seed(0)
    untrained = EquivariantVideoModel(trained.config)
    untrained.h.remember(trained.h.pictures)
    good, bad = (certify(ClipCharacters(model, clip), 6) for model in (trained, untrained))
    assert good.held_out == 4 and good.unseen < 0.05
    (character,) = good.characters
    assert good.trust > bad.trust + 0.2 and character.follows > 0.7 and character.drawn_db > character.without_db + 3
    assert set(character.worst) <= {3, 9, 15, 21} and character.text.count("\n") == 0
    assert bad.trust < 0.4 and "do not trust it" in bad.text


def test_a_background_that_the_model_never_saw_is_not_trusted(trained, scene):
    found = certify(ClipCharacters(trained, open_clip(scene.parent / "second", cache=None)))
    assert found.trust == 0 and not found.known and "was not trained on this background" in found.text


def test_the_command_says_it_and_the_model_card_keeps_it(run, trained, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)
    folder = shutil.copytree(run, tmp_path / "run")
    assert "- Trust: not judged" in (folder / "README.md").read_text()  # as training wrote it
    words = ["evaluate", str(folder), str(clip.path), "--cache", "none", "--json", str(tmp_path / "trust.json")]
    assert main(words) == 0
    out, (found,) = capsys.readouterr().out, json.loads((tmp_path / "trust.json").read_text())
    assert found["verdict"] in out and found["clip"] == "first" and found["held_out"] == 0  # 24 frames are too few
    assert {"drawn", "follows", "steady", "explained"} <= set(found["characters"][0])
    assert (folder / "evaluation.png").is_file()
    assert f"- Trust, first: {found['trust']:.2f}, {found['verdict']}" in (card := (folder / "README.md").read_text())
    assert "not judged" not in card
    assert read_metrics(folder)["trust"]["first"].startswith(f"{found['trust']:.2f}")
    assert main([*words, "--overwrite", "--network-only"]) == 2


@pytest.mark.parametrize(("trust", "verdict"), [(0.9, "can be trusted"), (0.5, "look at it"), (0.1, "do not trust")])
def test_a_figure_in_words(trust, verdict):
    assert trust_in_words(trust).startswith(verdict) and np.isfinite(trust)
