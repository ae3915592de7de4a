"""What the pretrained learner is meta-trained on: a mixture of episodes over feature vectors."""
