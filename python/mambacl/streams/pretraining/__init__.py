"""The mixture of episodes over feature vectors that the packaged learners are meta-trained on."""
