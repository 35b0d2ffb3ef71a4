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
    """Pairs of numbers are ranges [lowest, highest]; values are drawn evenly, or evenly over the logarithm where the field says so."""

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

    probability: Share = Field(0.9, description="Share of the examples that get such impulses")
    rate_per_sec: tuple[Rate, Rate] = Field(
        (1.0, 40.0), description="Impulses per second, drawn evenly over the logarithm"
    )
    level_db: tuple[Level, Level] = Field(
        (0.0, 18.0), description="Median of the peaks in dB over the clean signal's active RMS"
    )
    spread_db: tuple[Spread, Spread] = Field(
        (3.0, 9.0), description="Standard deviation of the peaks' level within an example, dB"
    )
    pareto: Share = Field(
        0.3, description="Share of the examples whose amplitudes follow a Pareto law; the others are log-normal"
    )
    width_ms: tuple[Width, Width] = Field(
        (0.1, 0.8), description="Median time in ms in which a pulse falls to a tenth, drawn evenly over the logarithm"
    )
    width_spread: Share = Field(0.5, description="Standard deviation of the natural logarithm of the pulses' widths")
    resonance_hz: tuple[Hertz, Hertz] = Field((1500.0, 9000.0), description="Range of the pulses' resonances, Hz")


class HissSettings(RangedSettings):
    """Steady broadband noise."""

    probability: Share = Field(0.9, description="Share of the examples that get hiss")
    snr_db: tuple[Level, Level] = Field(
        (8.0, 35.0), description="Clean signal's active RMS over the RMS of the hiss, dB"
    )
    tilt_db: tuple[Level, Level] = Field((-4.0, 2.0), description="Slope added to the spectrum, dB per octave")
    spectra: list[list[tuple[Hertz, CurveLevel]]] = Field(
        [[(50.0, 0.0), (20_000.0, 0.0)]],
        min_length=1,
        description="Power densities as [Hz, dB] points; each example draws one; the analysis of real recordings gives them",
    )

    @model_validator(mode="after")
    def _rising(self) -> HissSettings:
        for curve in self.spectra:
            if len(curve) < 2 or any(a[0] >= b[0] for a, b in zip(curve, curve[1:], strict=False)):
                raise ValueError("spectra: each is two points or more that rise in Hz")
        return self


class RumbleSettings(RangedSettings):
    """Low noise of bearings and motor."""

    probability: Share = Field(0.4, description="Share of the examples that get rumble")
    snr_db: tuple[Level, Level] = Field(
        (5.0, 35.0), description="Clean signal's active RMS over the RMS of the rumble, dB"
    )
    corner_hz: tuple[Hertz, Hertz] = Field(
        (20.0, 90.0), description="Corner above which the rumble falls by 12 dB per octave, Hz"
    )


class HumSettings(RangedSettings):
    """Mains hum: a fundamental and its harmonics."""

    probability: Share = Field(0.3, description="Share of the examples that get mains hum")
    snr_db: tuple[Level, Level] = Field(
        (10.0, 45.0), description="Clean signal's active RMS over the RMS of the hum, dB"
    )
    base_hz: list[Hertz] = Field(
        [50.0, 60.0], min_length=1, description="Fundamentals of the hum, Hz; each example draws one"
    )
    detune_percent: Percent = Field(1.0, description="Largest deviation of the fundamental, in percent, up or down")
    harmonics: tuple[int, int] = Field((3, 20), description="Number of harmonics, the fundamental among them")
    slope_db: tuple[Level, Level] = Field((2.0, 10.0), description="Mean fall of the harmonics' level, dB per octave")

    @model_validator(mode="after")
    def _harmonics(self) -> HumSettings:
        if not 1 <= self.harmonics[0] <= self.harmonics[1] <= 100:
            raise ValueError("harmonics lie within 1 and 100")
        return self


class RevolutionSettings(RangedSettings):
    """Noise that comes again with each turn of the record."""

    probability: Share = Field(0.3, description="Share of the examples that get noise that comes again with each turn")
    snr_db: tuple[Level, Level] = Field(
        (12.0, 35.0), description="Clean signal's active RMS over the RMS of the noise, dB"
    )
    rpm: list[Annotated[float, Field(ge=10, le=120)]] = Field(
        [78.0], min_length=1, description="Speeds of the record, turns per minute; each example draws one"
    )
    clicks_per_turn: tuple[Rate, Rate] = Field(
        (1.0, 12.0), description="Scratches per turn, drawn evenly over the logarithm"
    )
    click_level_db: tuple[Level, Level] = Field(
        (8.0, 26.0), description="Median of the scratches' peaks in dB over the RMS of the noise"
    )
    fade_sec: float = Field(0.05, gt=0, le=0.3, description="Cross-fade at the seam of the loop, s")


class WowSettings(RangedSettings):
    """Wow and flutter. The target is warped too: a mask cannot undo a change of speed."""

    probability: Share = Field(0.2, description="Share of the examples that get wow and flutter")
    depth_percent: tuple[Percent, Percent] = Field(
        (0.05, 0.8), description="Peak deviation of the speed by wow, percent"
    )
    rate_hz: tuple[Rate, Rate] = Field(
        (0.5, 1.5), description="Rate of the wow (a record's turns per second), Hz, drawn evenly over the logarithm"
    )
    flutter_percent: tuple[Percent, Percent] = Field(
        (0.0, 0.1), description="Peak deviation of the speed by flutter, percent"
    )
    flutter_hz: tuple[Rate, Rate] = Field(
        (6.0, 20.0), description="Rate of the flutter, Hz, drawn evenly over the logarithm"
    )


class BandSettings(RangedSettings):
    """Band limits of the recording. The target is limited too: a mask cannot bring back what is not there."""

    probability: Share = Field(0.4, description="Share of the examples whose band is limited")
    low_hz: tuple[Hertz, Hertz] = Field(
        (40.0, 250.0), description="Corner of the high-pass, Hz, drawn evenly over the logarithm"
    )
    high_hz: tuple[Hertz, Hertz] = Field(
        (3000.0, 9000.0), description="Corner of the low-pass, Hz, drawn evenly over the logarithm"
    )
    orders: list[int] = Field(
        [4, 6, 8],
        min_length=1,
        description="Even orders of the filters, 6 dB per octave and order; each example draws one",
    )
    noise_too: Share = Field(
        0.3, description="Share of the limited examples whose noises are limited too, as in a poor transfer of a record"
    )

    @model_validator(mode="after")
    def _even(self) -> BandSettings:
        if any(order < 2 or order > 16 or order % 2 for order in self.orders):
            raise ValueError("orders are even and lie within 2 and 16")
        return self


class ClippingSettings(RangedSettings):
    """Hard clipping of the degraded recording."""

    probability: Share = Field(0.1, description="Share of the examples that are clipped")
    limit_db: tuple[Level, Level] = Field(
        (3.0, 12.0), description="Clipping level in dB over the active RMS of signal and noises together"
    )


class DegradationSettings(Settings):
    """The distribution that `degrade` draws from."""

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
