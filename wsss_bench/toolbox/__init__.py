"""What methods share: trainings, prediction, losses, CRF, region growing, random walks."""
