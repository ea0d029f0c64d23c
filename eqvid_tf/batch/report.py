"""The report of a batch: a page that needs no network, with a row for each clip."""

from __future__ import annotations

import contextlib
import datetime
import html
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
    failed = sum(not outcome.done for outcome in outcomes)
    minutes = sum(sum(outcome.seconds.values()) for outcome in outcomes) / 60
    counts = [f'<span class="good">{len(outcomes) - failed} done</span>']
    counts += [f'<span class="bad">{failed} failed</span>'] if failed else []
    date = datetime.datetime.now().astimezone().strftime("%-d %B %Y, %H:%M")
    parts = {
        "title": f"{output.name}: {len(outcomes)} {'clip' if len(outcomes) == 1 else 'clips'}",
        "summary": " · ".join([*counts, f"{minutes:.1f} minutes of work"]),
        "rows": "\n".join(_row(outcome, output) for outcome in outcomes),
        "foot": f"eqvid_tf {eqvid_tf.__version__} · {date} · minutes of all attempts, in this run and before",
    }
    page = resources.files("eqvid_tf.batch").joinpath(REPORT).read_text(encoding="utf-8")
    parts["title"] = html.escape(parts["title"])
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    write_text(output / REPORT, page)
    return output / REPORT


def _row(outcome: Outcome, output: Path) -> str:
    folder = output / outcome.name
    pictures = _picture(folder / "layers/background.png", "background") + _picture(folder / "masked.png", "mask")
    cells = [
        f'<td class="pictures">{pictures}</td>',
        f"<td>{_about(outcome)}</td>",
        f'<td class="words">{_verdict(outcome)}</td>',
        f'<td class="words">{_result(outcome, folder)}</td>',
        f'<td class="time">{_times(outcome)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


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
    log = log_of(folder, outcome.stage).relative_to(folder).as_posix()
    where = f"failed in {outcome.stage}" if outcome.stage else "failed"
    return _div("state bad", where) + _div("why", outcome.why) + f"<div>{_links(folder, [log])}</div>"


def _links(folder: Path, names: Sequence[str]) -> str:
    there = [name for name in names if (folder / name).exists()]
    return "".join(f'<a href="{quote(f"{folder.name}/{name}")}">{html.escape(name)}</a>' for name in there)


def _times(outcome: Outcome) -> str:
    total = _div("", f"{sum(outcome.seconds.values()) / 60:.1f}")
    return total + "".join(
        _div("quiet", f"{stage} {seconds / 60:.1f}{_again(outcome.attempts[stage])}")
        for stage, seconds in outcome.seconds.items()
    )


def _again(attempts: int) -> str:
    return f", {attempts} attempts" if attempts > 1 else ""


def _div(kind: str, text: str) -> str:
    return f'<div class="{kind}">{html.escape(text)}</div>'
