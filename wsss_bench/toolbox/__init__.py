"""What methods share: trainings, prediction, losses, CRF, region growing, random walks. Modules are imported by name."""
