"""The one error class for what a user did or gave us that we cannot use."""


class AudioRestorerError(Exception):
    """A wrong argument, config, file or model. The message names it and says what to do; the CLI prints it without a traceback."""
