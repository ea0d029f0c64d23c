"""The report of a batch: a page that needs no network, with a row for each clip."""

from __future__ import annotations

import contextlib
import datetime
import html
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import eqvid_tf
from eqvid_tf.batch.manifest import REPORT
from eqvid_tf.batch.picture import THUMBNAIL
from eqvid_tf.batch.work import Outcome, log_of
from eqvid_tf.data.images import read_image
from eqvid_tf.data.output import write_text
from eqvid_tf.exports.pictures import data_url, shrunk
from eqvid_tf.model_folder import verdict_in_words

LINKS = ("layers", "run", "videos", "sheet.png", "page.html")
COLOURS = {"suits": "good", "suits with care": "care", "does not suit": "bad"}
QUALITY = 80  # of WebP


def write_report(outcomes: Sequence[Outcome], output: Path) -> Path:
    """Write report.html into the folder of a batch, and give its path."""
    failed = [_failed_link(outcome) for outcome in outcomes if not outcome.done]
    counts = [f'<span class="good">{len(outcomes) - len(failed)} done</span>']
    counts += [f'<span class="bad">{len(failed)} failed</span>: {", ".join(failed)}'] if failed else []
    work = _duration(sum(sum(outcome.seconds.values()) for outcome in outcomes))
    date = datetime.datetime.now().astimezone().strftime("%-d %B %Y, %H:%M")
    parts = {
        "title": html.escape(f"{output.name}: {len(outcomes)} {'clip' if len(outcomes) == 1 else 'clips'}"),
        "summary": " · ".join([*counts, f"{work} of work"]),
        "rows": "\n".join(_row(outcome, output) for outcome in outcomes),
        "foot": f"eqvid_tf {eqvid_tf.__version__} · {date} · times: all attempts that ended, those of former runs too",
    }
    page = resources.files("eqvid_tf.batch").joinpath(REPORT).read_text(encoding="utf-8")
    write_text(output / REPORT, re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page))
    return output / REPORT


def _row(outcome: Outcome, output: Path) -> str:
    folder = output / outcome.name
    paths = {"background": folder / "layers/background.png", "mask": folder / "masked.png"}
    pictures = "".join(_picture(path, what) if outcome.done else "<span></span>" for what, path in paths.items())
    cells = [
        f'<td class="pictures">{pictures}</td>',
        f'<td class="clip">{_about(outcome)}</td>',
        f'<td class="words">{_verdict(outcome)}</td>',
        f'<td class="words">{_result(outcome, folder)}</td>',
        f'<td class="time">{_times(outcome)}</td>',
    ]
    return f'<tr id="{quote(outcome.name)}">{"".join(cells)}</tr>'


def _picture(path: Path, what: str) -> str:
    """A picture within the page, or a plain field where there is none."""
    with contextlib.suppress(ValueError, OSError):
        picture = read_image(path)
        small = shrunk(picture, min(1.0, THUMBNAIL / max(picture.shape[:2])))
        return f'<img src="{data_url(small, "webp", QUALITY)}" alt="{what}">'
    return "<span></span>"


def _about(outcome: Outcome) -> str:
    lines = [_div("name", outcome.name)]
    if clip := outcome.clip:
        (height, width), count = clip["size"], clip["characters"]
        who = "1 character" if count == 1 else f"{count or 'no'} characters"
        lines += [_div("facts", f"{clip['frames']} frames, {width} × {height}, {clip['fps']:g}/s"), _div("facts", who)]
    return "".join([*lines, _div("quiet path", outcome.path)])


def _verdict(outcome: Outcome) -> str:
    lines = [_div(f"state {COLOURS[outcome.suits]}", outcome.suits)] if outcome.suits else []
    lines += [_div("quiet", reason) for reason in outcome.reasons]
    if outcome.trained is not None:
        lines.append(_div("care" if outcome.trained else "quiet", f"trained: {verdict_in_words(outcome.trained)}"))
    return "".join(lines)


def _result(outcome: Outcome, folder: Path) -> str:
    """That it is done, with where; or in which stage it failed, and why."""
    if outcome.done:
        return f'<div class="state good">done</div><div>{_links(folder, LINKS)}</div>'
    log = log_of(folder, outcome.stage, outcome.attempts.get(outcome.stage, 1)).relative_to(folder).as_posix()
    where = f"failed in {outcome.stage}" if outcome.stage else "failed"
    return _div("state bad", where) + _div("why", outcome.why) + f"<div>{_links(folder, [log])}</div>"


def _links(folder: Path, names: Sequence[str]) -> str:
    there = [name for name in names if (folder / name).exists()]
    return "".join(f'<a href="{quote(f"{folder.name}/{name}")}">{html.escape(name)}</a>' for name in there)


def _failed_link(outcome: Outcome) -> str:
    return f'<a href="#{quote(quote(outcome.name))}">{html.escape(outcome.name)}</a>'


def _times(outcome: Outcome) -> str:
    each = [
        _div("quiet", f"{stage} {_duration(seconds)}{_again(outcome.attempts[stage])}")
        for stage, seconds in outcome.seconds.items()
    ]
    return "".join([_div("", _duration(sum(outcome.seconds.values()))), *each])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _again(attempts: int) -> str:
    return f", {attempts} attempts" if attempts > 1 else ""


def _div(kind: str, text: str) -> str:
    return f'<div class="{kind}">{html.escape(text)}</div>'
