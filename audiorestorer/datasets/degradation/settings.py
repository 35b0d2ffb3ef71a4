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

    probability: Share = Field(0.9, description="of a train")
    rate_per_sec: tuple[Rate, Rate] = Field((1.0, 40.0), description="evenly over the logarithm")
    level_db: tuple[Level, Level] = Field((0.0, 18.0), description="median of the peaks")
    spread_db: tuple[Spread, Spread] = Field((3.0, 9.0), description="standard deviation of the peaks' level")
    pareto: Share = Field(
        0.3, description="share of trains whose amplitudes follow a Pareto law; the others log-normal"
    )
    width_ms: tuple[Width, Width] = Field(
        (0.1, 0.8), description="median time in which a pulse falls to a tenth; evenly over the logarithm"
    )
    width_spread: Share = Field(0.5, description="standard deviation of the widths' logarithm")
    resonance_hz: tuple[Hertz, Hertz] = Field((1500.0, 9000.0), description="a train's resonances lie within")


class HissSettings(RangedSettings):
    probability: Share = 0.9
    snr_db: tuple[Level, Level] = (8.0, 35.0)
    tilt_db: tuple[Level, Level] = Field((-4.0, 2.0), description="an octave, added to the spectrum")
    spectra: list[list[tuple[Hertz, CurveLevel]]] = Field(
        [[(50.0, 0.0), (20_000.0, 0.0)]],
        min_length=1,
        description="power densities as [Hz, dB] points, one drawn an example; the analysis of real recordings gives them",
    )

    @model_validator(mode="after")
    def _rising(self) -> HissSettings:
        for curve in self.spectra:
            if len(curve) < 2 or any(a[0] >= b[0] for a, b in zip(curve, curve[1:], strict=False)):
                raise ValueError("spectra: each is two points or more that rise in Hz")
        return self


class RumbleSettings(RangedSettings):
    probability: Share = 0.4
    snr_db: tuple[Level, Level] = (5.0, 35.0)
    corner_hz: tuple[Hertz, Hertz] = (20.0, 90.0)


class HumSettings(RangedSettings):
    probability: Share = 0.3
    snr_db: tuple[Level, Level] = (10.0, 45.0)
    base_hz: list[Hertz] = Field([50.0, 60.0], min_length=1)
    detune_percent: Percent = Field(1.0, description="largest deviation, either way")
    harmonics: tuple[int, int] = Field((3, 20), description="how many")
    slope_db: tuple[Level, Level] = Field((2.0, 10.0), description="fall an octave")

    @model_validator(mode="after")
    def _harmonics(self) -> HumSettings:
        if not 1 <= self.harmonics[0] <= self.harmonics[1] <= 100:
            raise ValueError("harmonics lie within 1 and 100")
        return self


class RevolutionSettings(RangedSettings):
    """Noise that comes again with each turn of the record."""

    probability: Share = 0.3
    snr_db: tuple[Level, Level] = (12.0, 35.0)
    rpm: list[Annotated[float, Field(ge=10, le=120)]] = Field([78.0], min_length=1)
    clicks_per_turn: tuple[Rate, Rate] = Field((1.0, 12.0), description="scratches; evenly over the logarithm")
    click_level_db: tuple[Level, Level] = Field((8.0, 26.0), description="median of their peaks over the noise's RMS")
    fade_sec: float = Field(0.05, gt=0, le=0.3, description="cross-fade of the loop")


class WowSettings(RangedSettings):
    """Depths in percent of the speed, peak. The target is warped too: wow is no noise that a mask could remove."""

    probability: Share = 0.2
    depth_percent: tuple[Percent, Percent] = (0.05, 0.8)
    rate_hz: tuple[Rate, Rate] = Field((0.5, 1.5), description="evenly over the logarithm; a record's turns")
    flutter_percent: tuple[Percent, Percent] = (0.0, 0.1)
    flutter_hz: tuple[Rate, Rate] = Field((6.0, 20.0), description="evenly over the logarithm")


class BandSettings(RangedSettings):
    """Band limits of the recording; the target is limited too: nothing is left from which a mask could bring the rest back."""

    probability: Share = 0.4
    low_hz: tuple[Hertz, Hertz] = Field((40.0, 250.0), description="evenly over the logarithm")
    high_hz: tuple[Hertz, Hertz] = Field((3000.0, 9000.0), description="evenly over the logarithm")
    orders: list[int] = Field([4, 6, 8], min_length=1, description="of the filters, even; 6 dB an octave each")
    noise_too: Share = Field(
        0.3, description="share where the noises are limited too: a poor transfer of a whole record"
    )

    @model_validator(mode="after")
    def _even(self) -> BandSettings:
        if any(order < 2 or order > 16 or order % 2 for order in self.orders):
            raise ValueError("orders are even and lie within 2 and 16")
        return self


class ClippingSettings(RangedSettings):
    probability: Share = 0.1
    limit_db: tuple[Level, Level] = Field((3.0, 12.0), description="of the sum; over its active RMS")


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
