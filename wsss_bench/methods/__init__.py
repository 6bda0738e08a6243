"""Which methods there are, what a recipe picks of them, and which parameters are in force."""
