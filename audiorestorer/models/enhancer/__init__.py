"""The enhancer: a denoiser, then speech regenerated from its mel-spectrogram (autoencoder, flow in its latent space, vocoder).

The shape is that of Resemble Enhance; every size is a setting (`settings.of_size`). Audio is `[B, T]` here, mono.
"""
