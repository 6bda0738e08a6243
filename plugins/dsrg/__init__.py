"""dsrg: deep seeded region growing."""
