"""The distribution that degradations are drawn from. Levels are relative to the clean signal's active RMS, in dB."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from audiorestorer.config import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(ge=-80, le=80)]
Rate = Annotated[float, Field(gt=0, le=5000)]
Hertz = Annotated[float, Field(gt=0, le=96_000)]
Width = Annotated[float, Field(gt=0, le=100)]
Spread = Annotated[float, Field(ge=0, le=30)]
Percent = Annotated[float, Field(ge=0, le=20)]
CurveLevel = Annotated[float, Field(ge=-120, le=60)]


class RangedSettings(Settings):
    """Pairs of numbers are ranges: [lowest, highest], drawn evenly, or evenly over the logarithm where it says so."""

    @model_validator(mode="after")
    def _ranges(self) -> RangedSettings:
        for name in type(self).model_fields:
            value = getattr(self, name)
            pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
            if pair and value[0] > value[1]:
                raise ValueError(f"{name} is [lowest, highest]")
        return self


class ImpulseSettings(RangedSettings):
    """Clicks, pops or crackle: one train of Poisson impulses."""

    probability: Share = Field(0.9, description="share of examples that have such a train of impulses")
    rate_per_sec: tuple[Rate, Rate] = Field(
        (1.0, 40.0), description="impulses per second, drawn evenly over the logarithm"
    )
    level_db: tuple[Level, Level] = Field((0.0, 18.0), description="median level of the peaks in dB")
    spread_db: tuple[Spread, Spread] = Field((3.0, 9.0), description="standard deviation of the peaks' level in dB")
    pareto: Share = Field(
        0.3, description="share of trains whose amplitudes follow a Pareto law; the others log-normal"
    )
    width_ms: tuple[Width, Width] = Field(
        (0.1, 0.8), description="median time in which a pulse falls to a tenth; evenly over the logarithm"
    )
    width_spread: Share = Field(0.5, description="standard deviation of the widths' logarithm")
    resonance_hz: tuple[Hertz, Hertz] = Field(
        (1500.0, 9000.0), description="range in which the resonances of a train lie"
    )


class HissSettings(RangedSettings):
    probability: Share = Field(0.9, description="share of examples with hiss")
    snr_db: tuple[Level, Level] = Field((8.0, 35.0), description="range of the SNR")
    tilt_db: tuple[Level, Level] = Field((-4.0, 2.0), description="slope per octave that is added to the spectrum")
    spectra: list[list[tuple[Hertz, CurveLevel]]] = Field(
        [[(50.0, 0.0), (20_000.0, 0.0)]],
        min_length=1,
        description="power densities as [Hz, dB] points, of which each example draws one; the analysis of real recordings gives them",
    )

    @model_validator(mode="after")
    def _rising(self) -> HissSettings:
        for curve in self.spectra:
            if len(curve) < 2 or any(a[0] >= b[0] for a, b in zip(curve, curve[1:], strict=False)):
                raise ValueError("spectra: each is two points or more that rise in Hz")
        return self


class RumbleSettings(RangedSettings):
    probability: Share = Field(0.4, description="share of examples with rumble")
    snr_db: tuple[Level, Level] = Field((5.0, 35.0), description="range of the SNR")
    corner_hz: tuple[Hertz, Hertz] = Field((20.0, 90.0), description="range of the frequency above which it falls")


class HumSettings(RangedSettings):
    probability: Share = Field(0.3, description="share of examples with hum")
    snr_db: tuple[Level, Level] = Field((10.0, 45.0), description="range of the SNR")
    base_hz: list[Hertz] = Field([50.0, 60.0], min_length=1, description="mains frequencies, of which one is drawn")
    detune_percent: Percent = Field(1.0, description="largest deviation of the mains frequency, either way")
    harmonics: tuple[int, int] = Field((3, 20), description="range of the number of harmonics")
    slope_db: tuple[Level, Level] = Field((2.0, 10.0), description="range by which the harmonics fall per octave")

    @model_validator(mode="after")
    def _harmonics(self) -> HumSettings:
        if not 1 <= self.harmonics[0] <= self.harmonics[1] <= 100:
            raise ValueError("harmonics lie within 1 and 100")
        return self


class RevolutionSettings(RangedSettings):
    """Noise that comes again with each turn of the record."""

    probability: Share = Field(0.3, description="share of examples with such noise")
    snr_db: tuple[Level, Level] = Field((12.0, 35.0), description="range of the SNR")
    rpm: list[Annotated[float, Field(ge=10, le=120)]] = Field(
        [78.0], min_length=1, description="turns per minute, of which one is drawn"
    )
    clicks_per_turn: tuple[Rate, Rate] = Field(
        (1.0, 12.0), description="scratches per turn, drawn evenly over the logarithm"
    )
    click_level_db: tuple[Level, Level] = Field(
        (8.0, 26.0), description="median of the scratches' peaks over the RMS of the noise"
    )
    fade_sec: float = Field(0.05, gt=0, le=0.3, description="length of the cross-fade from one turn to the next")


class WowSettings(RangedSettings):
    """Depths in percent of the speed, peak. The target is warped too: wow is no noise that a mask could remove."""

    probability: Share = Field(0.2, description="share of examples with wow and flutter")
    depth_percent: tuple[Percent, Percent] = Field((0.05, 0.8), description="depth of the wow")
    rate_hz: tuple[Rate, Rate] = Field(
        (0.5, 1.5), description="frequency of the wow, a record's turns; drawn evenly over the logarithm"
    )
    flutter_percent: tuple[Percent, Percent] = Field((0.0, 0.1), description="depth of the flutter")
    flutter_hz: tuple[Rate, Rate] = Field(
        (6.0, 20.0), description="frequency of the flutter, drawn evenly over the logarithm"
    )


class BandSettings(RangedSettings):
    """Band limits of the recording; the target is limited too: nothing is left from which a mask could bring the rest back."""

    probability: Share = Field(0.4, description="share of examples with a limited band")
    low_hz: tuple[Hertz, Hertz] = Field((40.0, 250.0), description="lower limit, drawn evenly over the logarithm")
    high_hz: tuple[Hertz, Hertz] = Field((3000.0, 9000.0), description="upper limit, drawn evenly over the logarithm")
    orders: list[int] = Field(
        [4, 6, 8],
        min_length=1,
        description="even orders of the filters, of which one is drawn; each order is 6 dB per octave",
    )
    noise_too: Share = Field(
        0.3, description="share of them in which the noises are limited too, as in a poor transfer of a whole record"
    )

    @model_validator(mode="after")
    def _even(self) -> BandSettings:
        if any(order < 2 or order > 16 or order % 2 for order in self.orders):
            raise ValueError("orders are even and lie within 2 and 16")
        return self


class ClippingSettings(RangedSettings):
    probability: Share = Field(0.1, description="share of examples that are clipped")
    limit_db: tuple[Level, Level] = Field(
        (3.0, 12.0), description="level at which the sum is clipped, over its active RMS"
    )


class DegradationSettings(Settings):
    """What `degrade` draws from."""

    clicks: ImpulseSettings = ImpulseSettings()
    pops: ImpulseSettings = ImpulseSettings(
        probability=0.3, rate_per_sec=(0.1, 2.0), level_db=(3.0, 18.0), pareto=0.0, width_ms=(3.0, 20.0),
        resonance_hz=(40.0, 400.0),
    )  # fmt: skip
    crackle: ImpulseSettings = ImpulseSettings(
        probability=0.5, rate_per_sec=(40.0, 600.0), level_db=(-26.0, -6.0), pareto=0.7, width_ms=(0.05, 0.3),
        resonance_hz=(2500.0, 12_000.0),
    )  # fmt: skip
    hiss: HissSettings = HissSettings()
    rumble: RumbleSettings = RumbleSettings()
    hum: HumSettings = HumSettings()
    revolution: RevolutionSettings = RevolutionSettings()
    wow: WowSettings = WowSettings()
    band: BandSettings = BandSettings()
    clipping: ClippingSettings = ClippingSettings()
