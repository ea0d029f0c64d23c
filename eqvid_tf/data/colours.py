"""Colours and brightness beyond a screen's, as phones film them, mapped to BT.709 in 8 bits.

FFmpeg's own mapping takes 5 seconds for each opening of a file, for its table of colours; this takes none.
"""

from __future__ import annotations

import functools

import numpy as np

HDR = {16: "PQ", 18: "HLG"}  # FFmpeg's numbers of transfer curves whose brightness exceeds a screen's
WIDE = {9: "BT.2020", 11: "P3", 12: "P3"}  # and of primaries whose colours do
SCREEN_FROM_BT2020 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))  # BT.2087
SCREEN_FROM_P3 = ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979))
BT2020_LUMINANCE = (0.2627, 0.6780, 0.0593)
PAPER = 203.0  # nits of a white page in HDR (BT.2408); the white of a screen
HLG_PEAK, HLG_GAMMA = (
    1000.0,
    1.2,
)  # nits of the display that HLG is meant for, and the gamma that goes with it (BT.2100)
KNEE = 0.5  # of a screen's white, in light: darker colours stay what they are, brighter ones share what is above it
GAMMA = 2.2  # of a screen


def wide_colours(transfer: int, primaries: int) -> str:
    """Name the colours of FFmpeg's numbers of a transfer curve and of primaries; "" where they are a screen's."""
    return HDR.get(transfer) or WIDE.get(primaries, "")


def to_screen(picture: np.ndarray, colours: str) -> np.ndarray:
    """Map a picture in wide colours to those of a screen: tone-mapped where it is brighter.

    Up to half of a screen's white, colours keep their light; what is brighter is compressed, so that a lamp, five times
    as bright as paper, still differs from it. The hue stays.

    Shapes: uint16 RGB [h, w, 3] -> uint8 [h, w, 3].

    Args:
        picture: its values, in full range.
        colours: what `wide_colours` says.
    """
    light, matrix = _light_of(colours)[picture], SCREEN_FROM_P3 if colours == "P3" else SCREEN_FROM_BT2020
    if colours == "HLG":
        luminance = light @ np.array(BT2020_LUMINANCE, np.float32)
        light = light * luminance[..., None] ** np.float32(HLG_GAMMA - 1) * (HLG_PEAK / PAPER)
    light = np.maximum(light @ np.array(matrix, np.float32).T, 0)
    if colours in HDR.values():
        peak = np.maximum(light.max(-1, keepdims=True), 1e-6)
        compressed = KNEE - (1 - KNEE) * np.expm1((KNEE - peak) / (1 - KNEE))
        light = light * (np.where(peak < KNEE, peak, compressed) / peak)
    return np.rint(255 * np.minimum(light, 1) ** np.float32(1 / GAMMA)).astype(np.uint8)


@functools.lru_cache
def _light_of(colours: str) -> np.ndarray:
    """The light of each value of a channel, [65536] float32: 1 is a screen's white; of HLG, 1 is the scene's most."""
    value = np.arange(65536) / 65535
    if colours == "PQ":  # SMPTE ST 2084
        power = value ** (32 / 2523)
        nits = 10000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (8192 / 1305)
        light = nits / PAPER
    elif colours == "HLG":  # ARIB STD-B67
        light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    else:
        light = value**GAMMA
    return light.astype(np.float32)
