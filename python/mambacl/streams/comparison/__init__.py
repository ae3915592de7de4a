"""The pretrained learner beside others that read a stream once, on data whose classes it never saw."""
