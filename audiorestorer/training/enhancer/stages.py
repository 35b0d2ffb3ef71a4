"""The enhancer's two trainings: autoencoder and vocoder on clean speech, then the flow from degraded to clean."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.losses import adversarial
from audiorestorer.losses.waveform import mr_stft
from audiorestorer.models.enhancer.denoiser import rms
from audiorestorer.models.enhancer.discriminators import Discriminators
from audiorestorer.models.enhancer.enhancer import REFERENCE_RMS, Enhancer
from audiorestorer.training.enhancer.module import Batch, EnhancerModule, StepRandom, at_reference
from audiorestorer.training.enhancer.settings import Stage1Settings, Stage2Settings

SAMPLE_SEED = 0


class Stage1Module(EnhancerModule):
    """Autoencoder: MSE of the normalised mel values. Vocoder: multi-resolution STFT loss, and from a step on discriminators.

    The normaliser is learned here. `finish` sets z_scale to 1 / std of the code.
    """

    settings: Stage1Settings

    def __init__(self, settings: Stage1Settings, enhancer: Enhancer) -> None:
        super().__init__(settings, enhancer)
        self.discriminators = Discriminators(settings.discriminators) if settings.gan_from is not None else None

    def groups(self) -> list[list[nn.Parameter]]:
        return [self.trained(), *([list(self.discriminators.parameters())] if self.discriminators else [])]

    def speech(self, clean: Tensor, random: StepRandom) -> Tensor:
        """Clean speech at the levels that it has in mixtures: `[B, T]`."""
        gain_db = torch.from_numpy(random.rng.uniform(*self.settings.level_db, (len(clean), 1))).to(clean)
        return clean / rms(clean) * REFERENCE_RMS * 10 ** (gain_db / 20)

    def features(self, audio: Tensor) -> Tensor:
        """Normalised mel values; in training the normaliser learns from them."""
        with torch.autocast(audio.device.type, enabled=False), torch.no_grad():
            mel = self.enhancer.mel(audio)
            if self.training:
                self.enhancer.normaliser.update(mel)
            out: Tensor = self.enhancer.normaliser(mel)
        return out

    def losses(self, batch: Batch, random: StepRandom, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        audio = self.speech(batch[2], random)
        features = self.features(audio)
        decoded, rebuilt = self.enhancer.irmae(features)
        loss = functional.mse_loss(rebuilt.float(), features)
        parts = {"autoencoder": loss}
        if step >= self.settings.vocoder_from:
            real, condition = self.cut(audio, decoded, random)
            noise = random.normal(condition, len(condition), self.enhancer.settings.vocoder.noise, condition.shape[2])
            estimate = self.enhancer.vocoder(condition, noise)
            parts |= self.distances(real, estimate, step)
            loss = torch.stack([parts[name] for name in parts if name != "discriminator"]).sum()
        return loss, parts

    def distances(self, real: Tensor, estimate: Tensor, step: int) -> dict[str, Tensor]:
        """The losses of the vocoder's audio; in training the discriminators take a step before they judge."""
        settings = self.settings
        with torch.autocast(real.device.type, enabled=False):
            both = (estimate.float()[:, None] / REFERENCE_RMS, real[:, None] / REFERENCE_RMS)
            parts = {"spectral": mr_stft(*both, self.enhancer.sample_rate, settings.resolutions, settings.log_slope)}
        if self.discriminators is None or settings.gan_from is None or step < settings.gan_from:
            return parts
        judge = self.discriminators
        parts["discriminator"] = adversarial.discriminator(judge(real), judge(estimate.detach()))
        if self.training:
            self.descend(1, parts["discriminator"], list(judge.parameters()))
        judge.requires_grad_(False)
        parts["adversarial"] = adversarial.generator(judge(estimate))
        judge.requires_grad_(True)
        return parts

    def cut(self, audio: Tensor, decoded: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        """The vocoder's share of a batch: audio `[b, n * hop]` and what it is made of, `[b, M + extra, n]`; cut at random frames."""
        hop, frames = self.enhancer.vocoder.hop_length, decoded.shape[2]
        audio = functional.pad(audio, (0, frames * hop - audio.shape[1]))
        count = min(len(audio), self.settings.vocoder_items or len(audio))
        wanted = self.settings.vocoder_sec
        length = frames if wanted is None else min(frames, max(1, round(wanted * self.enhancer.sample_rate / hop)))
        begins = random.rng.integers(0, frames - length + 1, count)
        real = torch.stack([audio[i, b * hop : (b + length) * hop] for i, b in enumerate(begins)])
        return real, torch.stack([decoded[i, :, b : b + length] for i, b in enumerate(begins)])

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        clean = batch[2] / rms(batch[2]) * REFERENCE_RMS
        decoded, _ = self.enhancer.irmae(self.features(clean))
        vocoded = self.enhancer.vocoder.synthesise(decoded, range(SAMPLE_SEED, SAMPLE_SEED + len(clean)))
        return {"clean": clean, "vocoded": vocoded[:, : clean.shape[1]]}

    def finish(self, examples: Iterable[Batch]) -> None:
        """The flow shall see codes of standard deviation 1."""
        self.eval()
        with torch.no_grad():
            codes = [
                self.enhancer.irmae.encode(self.features(self.speech(batch[2], StepRandom(self.settings.seed, number))))
                for number, batch in enumerate(examples)
            ]
            self.enhancer.z_scale.copy_(1 / torch.cat([code.flatten() for code in codes]).std())


class Stage2Module(EnhancerModule):
    """The flow: L1 of its velocity; tau ~ U(0, 1), lambda ~ Beta(b, b) an item."""

    settings: Stage2Settings

    def __init__(self, settings: Stage2Settings, enhancer: Enhancer) -> None:
        super().__init__(settings, enhancer)
        self._kept: dict[int, tuple[Tensor, ...]] = {}

    def losses(self, batch: Batch, random: StepRandom, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        heard, denoised, code_heard, code_clean = self.frozen(batch, step)
        share = random.rng.beta(self.settings.beta, self.settings.beta, (len(heard), 1, 1))
        tau = random.rng.uniform(0, 1, len(heard))
        condition = self.enhancer.condition(heard, denoised, torch.from_numpy(share).to(heard))
        loss = self.enhancer.flow.loss(code_clean, code_heard, condition, torch.from_numpy(tau).to(heard), random.torch)
        return loss, {}

    def frozen(self, batch: Batch, step: int) -> tuple[Tensor, ...]:
        """Mel values of the mixture and of the denoised speech, codes of the mixture and of the clean speech."""
        number = step % self.settings.steps_per_epoch * self.settings.batch_size % max(1, self.settings.fixed_examples)
        keeps = self.training and self.settings.fixed_examples > 0
        if keeps and number in self._kept:
            return self._kept[number]
        mixture, _, clean = at_reference(batch)
        enhancer = self.enhancer
        with torch.no_grad(), torch.autocast(mixture.device.type, enabled=False):
            heard, denoised = enhancer.features(mixture), enhancer.features(enhancer.denoiser(mixture))
            kept = heard, denoised, enhancer.code(heard), enhancer.code(enhancer.features(clean))
        if keeps:
            self._kept[number] = kept
        return kept

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        mixture, _, clean = at_reference(batch)
        out = self.enhancer(mixture, seeds=range(SAMPLE_SEED, SAMPLE_SEED + len(mixture)), nfe=self.settings.nfe)
        return {"mixture": mixture, "denoised": out.denoised, "enhanced": out.enhanced, "clean": clean}
