"""Training the encoders that come with the package, and what they are measured to do."""
