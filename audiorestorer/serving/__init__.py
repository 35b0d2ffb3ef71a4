"""The local web page: uploads, a queue of batches, their progress and results. It computes nothing: a batch is one `run` command."""
